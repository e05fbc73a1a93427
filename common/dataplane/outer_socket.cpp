// The outer sockets: batches out and in, and their error queues. What differs between IPv4 and
// IPv6 is the names of options and the form of addresses.
#include "common/dataplane/outer_socket.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "common/dataplane/transport.hpp"
#include "common/log/log.hpp"

namespace dstm::dataplane {
namespace {

constexpr int hop_limit = 64;  // RFC 2473 s6.3, RFC 4213 s3.5, RFC 1700
constexpr int socket_buffer_size = 8 << 20;
constexpr int ip_protocol_ipv4 = 4;   // RFC 2473 s3
constexpr int ip_protocol_ipv6 = 41;  // RFC 4213 s3.5

// One control message is an int; an error has its own size.
constexpr std::size_t control_size = CMSG_SPACE(sizeof(int));
constexpr std::size_t error_control_size =
    CMSG_SPACE(sizeof(sock_extended_err) + sizeof(sockaddr_in6)) + CMSG_SPACE(sizeof(int));

// The names of one thing in each version.
struct Names {
    int family;
    int level;
    int traffic_class;
    int receive_traffic_class;
    int receive_errors;
    int mtu;
    int mtu_discover;
    int fragment_to_path_mtu;
    int hop_limit;
    std::uint8_t icmp_origin;
};
constexpr Names ipv6_names{
    AF_INET6, IPPROTO_IPV6,      IPV6_TCLASS,        IPV6_RECVTCLASS,   IPV6_RECVERR,
    IPV6_MTU, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_WANT, IPV6_UNICAST_HOPS, SO_EE_ORIGIN_ICMP6};
constexpr Names ipv4_names{AF_INET,    IPPROTO_IP,       IP_TOS,          IP_RECVTOS,
                           IP_RECVERR, IP_MTU,           IP_MTU_DISCOVER, IP_PMTUDISC_WANT,
                           IP_TTL,     SO_EE_ORIGIN_ICMP};

const Names& names_of(TunnelType type) {
    return type == TunnelType::v4v6 ? ipv6_names : ipv4_names;
}

union SocketAddress {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
};

// Zeroed, but for the family.
SocketAddress empty_address(int family) {
    SocketAddress out;
    std::memset(&out, 0, sizeof out);
    out.any.sa_family = static_cast<sa_family_t>(family);
    return out;
}

socklen_t size_of(const SocketAddress& address) {
    return address.any.sa_family == AF_INET ? sizeof address.v4 : sizeof address.v6;
}

SocketAddress native(const IpEndpoint& endpoint) {
    if (const auto* v4 = std::get_if<Ipv4Address>(&endpoint.address)) {
        auto out = empty_address(AF_INET);
        out.v4.sin_addr.s_addr = htonl(v4->host_order());
        out.v4.sin_port = htons(endpoint.port);
        return out;
    }
    auto out = empty_address(AF_INET6);
    const auto& bytes = std::get<Ipv6Address>(endpoint.address).bytes();
    std::memcpy(&out.v6.sin6_addr, bytes.data(), bytes.size());
    out.v6.sin6_port = htons(endpoint.port);
    return out;
}

IpEndpoint value_of(const SocketAddress& address, bool has_port) {
    if (address.any.sa_family == AF_INET) {
        const auto port = has_port ? ntohs(address.v4.sin_port) : std::uint16_t{0};
        return {Ipv4Address(ntohl(address.v4.sin_addr.s_addr)), port};
    }
    Ipv6Address::Bytes bytes;
    std::memcpy(bytes.data(), &address.v6.sin6_addr, bytes.size());
    return {Ipv6Address(bytes), 0};
}

bool set_option(int descriptor, int level, int name, int value) {
    return ::setsockopt(descriptor, level, name, &value, sizeof value) == 0;
}

bool bind_to(const Descriptor& socket, const IpEndpoint& local) {
    const auto address = native(local);
    return ::bind(socket.number(), &address.any, size_of(address)) == 0;
}

bool prepare(int descriptor, const Names& names) {
    // Larger than what net.core allows to everybody; without the right to it, what is allowed.
    if (!set_option(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, socket_buffer_size)) {
        set_option(descriptor, SOL_SOCKET, SO_RCVBUF, socket_buffer_size);
    }
    if (!set_option(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, socket_buffer_size)) {
        set_option(descriptor, SOL_SOCKET, SO_SNDBUF, socket_buffer_size);
    }
    // Fragment to the path MTU, never refuse for its sake: the rule about DF is the carrier's.
    return set_option(descriptor, names.level, names.mtu_discover, names.fragment_to_path_mtu) &&
           set_option(descriptor, names.level, names.hop_limit, hop_limit) &&
           set_option(descriptor, names.level, names.receive_traffic_class, 1) &&
           set_option(descriptor, names.level, names.receive_errors, 1);
}

struct Envelope {
    SocketAddress address;
    iovec data{};
    alignas(cmsghdr) std::array<char, control_size> control{};
};

msghdr message_around(Envelope& envelope) {
    msghdr message{};
    message.msg_name = &envelope.address;
    message.msg_namelen = sizeof envelope.address;
    message.msg_iov = &envelope.data;
    message.msg_iovlen = 1;
    message.msg_control = envelope.control.data();
    message.msg_controllen = envelope.control.size();
    return message;
}

std::uint8_t read_traffic_class(msghdr& message, const Names& names) {
    for (auto* part = CMSG_FIRSTHDR(&message); part != nullptr;
         part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level != names.level || part->cmsg_type != names.traffic_class) continue;
        if (names.family == AF_INET) return *CMSG_DATA(part);
        int value = 0;
        std::memcpy(&value, CMSG_DATA(part), sizeof value);
        return static_cast<std::uint8_t>(value);
    }
    return 0;
}

void write_traffic_class(msghdr& message, const Names& names, std::uint8_t traffic_class) {
    auto* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = names.level;
    part->cmsg_type = names.traffic_class;
    part->cmsg_len = CMSG_LEN(sizeof(int));
    const int value = traffic_class;
    std::memcpy(CMSG_DATA(part), &value, sizeof value);
}

// A raw socket of IPv4 hands over the outer header too.
MutableBytes without_outer_header(TunnelType type, MutableBytes packet) {
    if (type != TunnelType::v6v4 || packet.empty()) return packet;
    const auto header_size = std::size_t{4} * (load8(packet, 0) & 0x0f);
    return packet.subspan(std::min(header_size, packet.size()));
}

Drop drop_for(int error) {
    const bool full = error == ENOBUFS || error == EAGAIN || error == ENOMEM;
    return full ? Drop::send_queue_full : Drop::send_failed;
}

PathError describe(TunnelType type, const sock_extended_err& error) {
    PathError out;
    out.kind = type == TunnelType::v4v6 ? kind_of_icmpv6(error.ee_type, error.ee_code)
                                        : kind_of_icmpv4(error.ee_type, error.ee_code, type);
    out.mtu = error.ee_info;
    return out;
}

Descriptor open_probe(TunnelType type) {
    return Descriptor(
        ::socket(names_of(type).family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

}  // namespace

Result<OuterSocket> OuterSocket::open(TunnelType type, const IpEndpoint& local) {
    const auto& names = names_of(type);
    const bool is_udp = type == TunnelType::v6udpv4;
    const int protocol = type == TunnelType::v4v6 ? ip_protocol_ipv4 : ip_protocol_ipv6;
    Descriptor socket(::socket(names.family,
                               (is_udp ? SOCK_DGRAM : SOCK_RAW) | SOCK_CLOEXEC | SOCK_NONBLOCK,
                               is_udp ? 0 : protocol));
    auto probe = open_probe(type);
    if (!socket.is_open() || !probe.is_open() || !prepare(socket.number(), names)) {
        return tl::unexpected(
            error_from_errno(errno, "open the outer socket of " + std::string(to_string(type))));
    }
    std::optional<SegmentSizes> segment_sizes;
    if (!is_udp) {
        // Before it is bound, so that nothing comes past the filter.
        auto noted = SegmentSizes::note_for(socket.number(), type == TunnelType::v6v4);
        if (noted)
            segment_sizes = std::move(*noted);
        else
            log_info("TUN_NO_SEGMENT_SIZES", "{}", to_string(noted.error()));
    }
    if (!bind_to(socket, local) || !bind_to(probe, {local.address, 0})) {
        return tl::unexpected(error_from_errno(errno, "bind to " + to_string(local)));
    }
    OuterSocket out(type, std::move(socket), std::move(probe));
    if (is_udp) return out;
    out.segment_sizes_ = std::move(segment_sizes);
    auto quiet = QuietKernel::on(type, local.address);
    if (quiet)
        out.quiet_ = std::move(*quiet);
    else
        log_warning("TUN_KERNEL_NOT_QUIET", "{}", to_string(quiet.error()));
    return out;
}

Result<OuterSocket> OuterSocket::adopt_udp(Descriptor udp) {
    constexpr auto type = TunnelType::v6udpv4;
    auto probe = open_probe(type);
    auto local = empty_address(AF_INET);
    socklen_t size = sizeof local;
    const bool is_named = ::getsockname(udp.number(), &local.any, &size) == 0;
    if (!is_named || !probe.is_open() || !prepare(udp.number(), names_of(type))) {
        return tl::unexpected(error_from_errno(errno, "use the UDP socket of the signalling"));
    }
    if (local.any.sa_family != AF_INET) {
        return fail(ErrorCode::invalid, "v6udpv4 needs a UDP socket of IPv4");
    }
    if (!bind_to(probe, {value_of(local, false).address, 0})) {
        return tl::unexpected(error_from_errno(errno, "bind beside the UDP socket"));
    }
    return OuterSocket(type, std::move(udp), std::move(probe));
}

void OuterSocket::receive(BatchBuffer& buffer, std::vector<IncomingPacket>& out) {
    const auto& names = names_of(type_);
    std::array<Envelope, batch_size_max> envelopes;
    std::array<mmsghdr, batch_size_max> messages{};
    for (std::size_t i = 0; i < batch_size_max; ++i) {
        const auto slot = buffer.slot(i);
        envelopes[i].data = {slot.data(), slot.size()};
        messages[i].msg_hdr = message_around(envelopes[i]);
    }
    out.clear();
    const int count =
        ::recvmmsg(socket_.number(), messages.data(), batch_size_max, MSG_DONTWAIT, nullptr);
    for (std::size_t i = 0; count > 0 && i < static_cast<std::size_t>(count); ++i) {
        const auto payload = without_outer_header(type_, buffer.slot(i).first(messages[i].msg_len));
        out.push_back({value_of(envelopes[i].address, type_ == TunnelType::v6udpv4),
                       read_traffic_class(messages[i].msg_hdr, names), payload,
                       segment_size_of(payload)});
    }
}

SegmentSize OuterSocket::segment_size_of(ConstBytes packet) const {
    if (!segment_sizes_) return 0;
    // What the kernel merges always awaits its checksum, and has a payload.
    const auto header = read_inner_packet(packet, version_of(packet));
    if (!header || !awaits_checksum(packet, *header)) return 0;
    const auto offset = payload_offset(packet, *header);
    return offset != 0 && offset < header->total_length ? segment_sizes_->of(packet) : 0;
}

void OuterSocket::send(std::span<const OutgoingPacket> packets, DropTable& drops) {
    while (!packets.empty()) {
        const auto path_mtu = packets.front().path_mtu;
        const auto other = std::find_if(packets.begin(), packets.end(), [&](const auto& packet) {
            return packet.path_mtu != path_mtu;
        });
        const auto same = static_cast<std::size_t>(other - packets.begin());
        const auto batch = packets.first(std::min(same, batch_size_max));
        if (path_mtu != 0) fragment_to(path_mtu);
        send_batch(batch, drops);
        if (path_mtu != 0) fragment_to(0);
        packets = packets.subspan(batch.size());
    }
}

// RFC 3542 s11.4. Of all that the socket sends meanwhile: what another thread sends may be
// fragmented without need, which it survives. Over IPv4 no path is narrower than what IPv6 needs
// inside.
void OuterSocket::fragment_to(std::uint32_t path_mtu) {
    if (type_ != TunnelType::v4v6) return;
    set_option(socket_.number(), IPPROTO_IPV6, IPV6_MTU, static_cast<int>(path_mtu));
}

void OuterSocket::send_batch(std::span<const OutgoingPacket> packets, DropTable& drops) {
    std::array<Envelope, batch_size_max> envelopes;
    std::array<mmsghdr, batch_size_max> messages{};
    for (std::size_t i = 0; i < packets.size(); ++i) {
        envelopes[i].address = native(packets[i].destination);
        // The interface of sendmsg is not const, the call is.
        envelopes[i].data = {const_cast<std::uint8_t*>(packets[i].payload.data()),
                             packets[i].payload.size()};
        messages[i].msg_hdr = message_around(envelopes[i]);
        messages[i].msg_hdr.msg_namelen = size_of(envelopes[i].address);
        write_traffic_class(messages[i].msg_hdr, names_of(type_), packets[i].traffic_class);
    }
    std::size_t next = 0;
    bool retried = false;
    while (next < packets.size()) {
        const int sent = ::sendmmsg(socket_.number(), &messages[next],
                                    static_cast<unsigned>(packets.size() - next), MSG_DONTWAIT);
        if (sent > 0) {
            next += static_cast<std::size_t>(sent);
            retried = false;
        } else if (!retried) {
            // An ICMP error about an earlier packet fails the next call once (IP_RECVERR).
            retried = true;
        } else {
            drops.count(drop_for(errno));
            ++next;
            retried = false;
        }
    }
}

std::optional<PathError> OuterSocket::next_error(MutableBytes buffer) {
    const auto& names = names_of(type_);
    auto destination = empty_address(names.family);
    iovec data{buffer.data(), buffer.size()};
    alignas(cmsghdr) std::array<char, error_control_size> control{};
    for (;;) {
        msghdr message{};
        message.msg_name = &destination;
        message.msg_namelen = sizeof destination;
        message.msg_iov = &data;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        const auto size = ::recvmsg(socket_.number(), &message, MSG_ERRQUEUE | MSG_DONTWAIT);
        if (size < 0) {
            // The last error stays pending beside its queue until it is asked for.
            int pending = 0;
            socklen_t pending_size = sizeof pending;
            ::getsockopt(socket_.number(), SOL_SOCKET, SO_ERROR, &pending, &pending_size);
            return std::nullopt;
        }
        for (auto* part = CMSG_FIRSTHDR(&message); part != nullptr;
             part = CMSG_NXTHDR(&message, part)) {
            if (part->cmsg_level != names.level || part->cmsg_type != names.receive_errors) {
                continue;
            }
            sock_extended_err error{};
            std::memcpy(&error, CMSG_DATA(part), sizeof error);
            if (error.ee_origin != names.icmp_origin) continue;
            auto out = describe(type_, error);
            out.peer = {type_, value_of(destination, type_ == TunnelType::v6udpv4)};
            out.quoted = buffer.first(static_cast<std::size_t>(size));
            return out;
        }
    }
}

void OuterSocket::ignore_errors() {
    const auto& names = names_of(type_);
    set_option(socket_.number(), names.level, names.receive_errors, 0);
}

std::uint32_t OuterSocket::link_mtu(const IpAddress& destination) {
    const auto& names = names_of(type_);
    const auto address = native({destination, 9});  // any port; nothing is sent
    int mtu = 0;
    socklen_t size = sizeof mtu;
    if (::connect(probe_.number(), &address.any, size_of(address)) != 0 ||
        ::getsockopt(probe_.number(), names.level, names.mtu, &mtu, &size) != 0 || mtu <= 0) {
        return ipv6_mtu_min;
    }
    return static_cast<std::uint32_t>(mtu);
}

}  // namespace dstm::dataplane
