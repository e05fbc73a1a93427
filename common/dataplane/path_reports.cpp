// Raw ICMP sockets (raw(7), RFC 3542), bound to the endpoint's inner address.
#include "common/dataplane/path_reports.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include <arpa/inet.h>
#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "common/dataplane/icmp_error.hpp"
#include "common/dataplane/inner_packet.hpp"

namespace dstm::dataplane {
namespace {

constexpr std::size_t taken_at_once = 64;
// Both headers, the message's and what it quotes of ours; the rest of a longer one is not needed.
constexpr std::size_t message_size_max = 1280;

bool is_ipv4(const IpAddress& address) { return std::holds_alternative<Ipv4Address>(address); }

bool bind_to(int socket, const IpAddress& address) {
    if (const auto* v4 = std::get_if<Ipv4Address>(&address)) {
        sockaddr_in native{};
        native.sin_family = AF_INET;
        native.sin_addr.s_addr = htonl(v4->host_order());
        return ::bind(socket, reinterpret_cast<sockaddr*>(&native), sizeof native) == 0;
    }
    sockaddr_in6 native{};
    native.sin6_family = AF_INET6;
    const auto& bytes = std::get<Ipv6Address>(address).bytes();
    std::memcpy(&native.sin6_addr, bytes.data(), bytes.size());
    return ::bind(socket, reinterpret_cast<sockaddr*>(&native), sizeof native) == 0;
}

// Only errors of the type that is meant, each with the device through which it came.
bool prepare(int socket, bool over_ipv4) {
    const int on = 1;
    if (over_ipv4) {
        const icmp_filter filter{~(1U << ICMP_DEST_UNREACH)};
        return ::setsockopt(socket, SOL_RAW, ICMP_FILTER, &filter, sizeof filter) == 0 &&
               ::setsockopt(socket, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) == 0;
    }
    icmp6_filter filter;
    ICMP6_FILTER_SETBLOCKALL(&filter);
    ICMP6_FILTER_SETPASS(ICMP6_PACKET_TOO_BIG, &filter);
    return ::setsockopt(socket, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter) == 0 &&
           ::setsockopt(socket, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) == 0;
}

template <class Info>
int device_in(const cmsghdr* part) {
    Info info{};
    std::memcpy(&info, CMSG_DATA(part), sizeof info);
    if constexpr (std::is_same_v<Info, in_pktinfo>) {
        return info.ipi_ifindex;
    } else {
        return static_cast<int>(info.ipi6_ifindex);
    }
}

int device_of(msghdr& message) {
    for (auto* part = CMSG_FIRSTHDR(&message); part != nullptr;
         part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_PKTINFO)
            return device_in<in_pktinfo>(part);
        if (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_PKTINFO)
            return device_in<in6_pktinfo>(part);
    }
    return 0;
}

// Only the socket of IPv4 hands over the IP header too.
std::optional<InnerHeader> header_of(ConstBytes received, const sockaddr_in6& from) {
    if (from.sin6_family == AF_INET) {
        const auto header = read_inner_packet(received, Version::ipv4);
        return header ? std::optional(*header) : std::nullopt;
    }
    InnerHeader header;
    header.version = Version::ipv6;
    header.total_length = received.size();
    header.protocol = protocol_icmpv6;
    Ipv6Address::Bytes bytes;
    std::memcpy(bytes.data(), &from.sin6_addr, bytes.size());
    header.source = Ipv6Address(bytes);
    return header;
}

}  // namespace

Result<PathReports> PathReports::open(const IpAddress& inner) {
    const bool over_ipv4 = is_ipv4(inner);
    constexpr int kind = SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC;
    Descriptor socket(over_ipv4 ? ::socket(AF_INET, kind, IPPROTO_ICMP)
                                : ::socket(AF_INET6, kind, IPPROTO_ICMPV6));
    if (!socket.is_open() || !prepare(socket.number(), over_ipv4) ||
        !bind_to(socket.number(), inner)) {
        return tl::unexpected(error_from_errno(errno, "listen for ICMP at " + to_string(inner)));
    }
    return PathReports(inner, std::move(socket));
}

std::vector<PathReport> PathReports::take() {
    std::vector<PathReport> out;
    std::array<std::uint8_t, message_size_max> buffer;
    for (std::size_t taken = 0; taken < taken_at_once; ++taken) {
        sockaddr_in6 from{};  // large enough for both families
        iovec data{buffer.data(), buffer.size()};
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(in6_pktinfo))> control;
        msghdr message{};
        message.msg_name = &from;
        message.msg_namelen = sizeof from;
        message.msg_iov = &data;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        const auto size = ::recvmsg(socket_.number(), &message, 0);
        if (size < 0) break;
        const auto received = ConstBytes(buffer).first(static_cast<std::size_t>(size));
        const auto header = header_of(received, from);
        const auto too_big = header ? read_too_big(received, *header) : std::nullopt;
        if (!too_big) continue;
        const auto quoted = read_inner_header(too_big->quoted, header->version);
        // About a packet of this host's to the one who reports, as all of them are.
        if (!quoted || quoted->source != inner_ || quoted->destination != header->source) continue;
        out.push_back({header->source, device_of(message), too_big->mtu});
    }
    return out;
}

}  // namespace dstm::dataplane
