// The TUN ioctls (Linux, Documentation/networking/tuntap).
#include "client/host/tun_device.hpp"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace dstm::client {

Result<void> remove_tun_device(const std::string& name) {
    if (name.empty() || name.size() >= IFNAMSIZ) {
        return fail(ErrorCode::invalid, "not a device name: " + name);
    }
    const int file = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (file < 0) return tl::unexpected(error_from_errno(errno, "open /dev/net/tun"));
    ifreq request{};
    std::copy(name.begin(), name.end(), request.ifr_name);
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    // Attach and let go: a device that is not persistent ends with its last descriptor.
    const bool is_removed =
        ioctl(file, TUNSETIFF, &request) == 0 && ioctl(file, TUNSETPERSIST, 0) == 0;
    const int error = errno;
    close(file);
    if (is_removed) return {};
    return tl::unexpected(error_from_errno(error, "remove device " + name));
}

}  // namespace dstm::client
