// Making and reading a TUN device.
#include "common/dataplane/tun_device.hpp"

#include <cerrno>

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace dstm::dataplane {

Result<TunDevice> TunDevice::create(const std::string& name, bool may_exist) {
    if (name.empty() || name.size() >= IFNAMSIZ || name.find('/') != std::string::npos) {
        return fail(ErrorCode::invalid, "\"" + name + "\" cannot be the name of a device");
    }
    Descriptor descriptor(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
    if (!descriptor.is_open()) {
        return tl::unexpected(error_from_errno(errno, "open /dev/net/tun"));
    }
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    // Exclusive: a device that somebody made before is not ours to configure.
    request.ifr_flags = static_cast<short>(IFF_TUN | IFF_NO_PI | (may_exist ? 0 : IFF_TUN_EXCL));
    if (::ioctl(descriptor.number(), TUNSETIFF, &request) != 0) {
        return tl::unexpected(error_from_errno(errno, "create the TUN device " + name));
    }
    return TunDevice(std::move(descriptor));
}

Result<void> TunDevice::keep() {
    if (::ioctl(descriptor_.number(), TUNSETPERSIST, 1) == 0) return {};
    return tl::unexpected(error_from_errno(errno, "keep the TUN device"));
}

Result<void> TunDevice::remove(const std::string& name) {
    if (::if_nametoindex(name.c_str()) == 0) return {};
    const auto device = create(name, true);
    if (!device) return tl::unexpected(device.error());
    if (::ioctl(device->descriptor(), TUNSETPERSIST, 0) != 0) {
        return tl::unexpected(error_from_errno(errno, "give up the TUN device " + name));
    }
    return {};
}

std::optional<std::size_t> TunDevice::read(MutableBytes buffer) {
    const auto size = ::read(descriptor_.number(), buffer.data(), buffer.size());
    if (size >= 0) return static_cast<std::size_t>(size);
    if (errno == EBADFD || errno == ENODEV) return std::nullopt;
    return 0;
}

bool TunDevice::write(ConstBytes packet) {
    return ::write(descriptor_.number(), packet.data(), packet.size()) ==
           static_cast<ssize_t>(packet.size());
}

}  // namespace dstm::dataplane
