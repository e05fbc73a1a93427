// Making, reading and writing a TUN device.
#include "common/dataplane/tun_device.hpp"

#include <array>
#include <cerrno>

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/dataplane/transport.hpp"

namespace dstm::dataplane {
namespace {

// Not in the headers of Linux 6.1, which has no such offload.
constexpr unsigned offload_udp = 0x20 | 0x40;  // TUN_F_USO4, TUN_F_USO6

// What stands before each packet (OASIS virtio 1.2 s5.1.6), in the byte order of the host. Linux'
// own declaration is not C++.
struct OffloadHeader {
    std::uint8_t flags = 0;
    std::uint8_t gso_type = 0;
    std::uint16_t header_length = 0;
    std::uint16_t gso_size = 0;
    std::uint16_t checksum_start = 0;
    std::uint16_t checksum_offset = 0;
};
static_assert(sizeof(OffloadHeader) == 10);
constexpr std::uint8_t flag_needs_checksum = 1;
constexpr std::uint8_t gso_none = 0;
constexpr std::uint8_t gso_tcp_in_ipv4 = 1;
constexpr std::uint8_t gso_tcp_in_ipv6 = 4;
constexpr std::uint8_t gso_udp = 5;
constexpr std::uint8_t gso_flag_ecn = 0x80;

constexpr unsigned offload_tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
constexpr std::uint8_t tcp_flag_cwr = 0x80;

Result<void> take_offloads(const Descriptor& tun) {
    if (::ioctl(tun.number(), TUNSETOFFLOAD, offload_tcp | offload_udp) == 0 ||
        ::ioctl(tun.number(), TUNSETOFFLOAD, offload_tcp) == 0) {
        return {};
    }
    return tl::unexpected(error_from_errno(errno, "take over offloads"));
}

// Of one that stands for many; nothing if it cannot.
std::optional<OffloadHeader> describe(ConstBytes packet, SegmentSize segment_size) {
    const auto header = read_inner_packet(packet, version_of(packet));
    const auto offset = header ? payload_offset(packet, *header) : 0;
    if (offset == 0) return std::nullopt;
    OffloadHeader out{};
    out.flags = flag_needs_checksum;
    out.header_length = static_cast<std::uint16_t>(offset);
    out.gso_size = segment_size;
    out.checksum_start = static_cast<std::uint16_t>(header->transport_offset);
    out.checksum_offset = static_cast<std::uint16_t>(checksum_offset(*header));
    if (header->protocol == protocol_udp) {
        out.gso_type = gso_udp;
        return out;
    }
    out.gso_type = header->version == Version::ipv4 ? gso_tcp_in_ipv4 : gso_tcp_in_ipv6;
    const auto flags = load8(packet, header->transport_offset + 13);
    if ((flags & tcp_flag_cwr) != 0) out.gso_type |= gso_flag_ecn;
    return out;
}

}  // namespace

Result<TunDevice> TunDevice::create(const std::string& name, bool may_exist) {
    if (name.empty() || name.size() >= IFNAMSIZ || name.find('/') != std::string::npos) {
        return fail(ErrorCode::invalid, "\"" + name + "\" cannot be the name of a device");
    }
    // Exclusive: a device that somebody made before is not ours to configure.
    return make(name, may_exist ? 0 : IFF_TUN_EXCL);
}

Result<TunDevice> TunDevice::create_any() { return make({}, 0); }

Result<TunDevice> TunDevice::make(const std::string& name, int more_flags) {
    Descriptor descriptor(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
    if (!descriptor.is_open()) {
        return tl::unexpected(error_from_errno(errno, "open /dev/net/tun"));
    }
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_flags = static_cast<short>(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | more_flags);
    if (::ioctl(descriptor.number(), TUNSETIFF, &request) != 0) {
        return tl::unexpected(error_from_errno(
            errno, name.empty() ? "create a TUN device" : "create the TUN device " + name));
    }
    if (auto taken = take_offloads(descriptor); !taken) return tl::unexpected(taken.error());
    if (::ioctl(descriptor.number(), TUNGETIFF, &request) != 0) {
        return tl::unexpected(error_from_errno(errno, "ask for the TUN device " + name));
    }
    const bool was_kept = (request.ifr_flags & IFF_PERSIST) != 0;
    return TunDevice(std::move(descriptor), was_kept);
}

std::string TunDevice::name() const {
    ifreq request{};
    return ::ioctl(descriptor_.number(), TUNGETIFF, &request) == 0 ? request.ifr_name : "";
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

std::optional<TunDevice::Read> TunDevice::read(MutableBytes buffer) {
    OffloadHeader before{};
    const std::array<iovec, 2> parts{iovec{&before, sizeof before},
                                     iovec{buffer.data(), buffer.size()}};
    const auto size = ::readv(descriptor_.number(), parts.data(), parts.size());
    if (size < 0 && (errno == EBADFD || errno == ENODEV)) return std::nullopt;
    if (size <= static_cast<ssize_t>(sizeof before)) return Read{};
    const auto packet = buffer.first(static_cast<std::size_t>(size) - sizeof before);
    if (before.gso_type != gso_none) return Read{packet.size(), before.gso_size};
    if ((before.flags & flag_needs_checksum) != 0) complete_checksum(packet);
    return Read{packet.size(), 0};
}

bool TunDevice::write(ConstBytes packet, SegmentSize segment_size) {
    std::optional<OffloadHeader> before = OffloadHeader{};
    if (segment_size != 0) before = describe(packet, segment_size);
    if (!before) return false;
    // The interface of writev is not const, the call is.
    const std::array<iovec, 2> parts{
        iovec{&*before, sizeof *before},
        iovec{const_cast<std::uint8_t*>(packet.data()), packet.size()}};
    return ::writev(descriptor_.number(), parts.data(), parts.size()) ==
           static_cast<ssize_t>(sizeof *before + packet.size());
}

}  // namespace dstm::dataplane
