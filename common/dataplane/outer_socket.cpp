// The raw IPv6 socket: batches out and in, and its error queue.
#include "common/dataplane/outer_socket.hpp"

#include <array>
#include <cerrno>
#include <cstring>

#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace dstm::dataplane {
namespace {

constexpr int hop_limit = 64;  // RFC 2473 s6.3, RFC 1700
constexpr int socket_buffer_size = 8 << 20;

// One received control message is an int, one sent too; an error has its own size.
constexpr std::size_t control_size = CMSG_SPACE(sizeof(int));
constexpr std::size_t error_control_size =
    CMSG_SPACE(sizeof(sock_extended_err) + sizeof(sockaddr_in6)) + CMSG_SPACE(sizeof(int));

sockaddr_in6 native(const Ipv6Address& address) {
    sockaddr_in6 out{};
    out.sin6_family = AF_INET6;
    std::memcpy(&out.sin6_addr, address.bytes().data(), sizeof out.sin6_addr);
    return out;
}

Ipv6Address value_of(const sockaddr_in6& address) {
    Ipv6Address::Bytes bytes;
    std::memcpy(bytes.data(), &address.sin6_addr, bytes.size());
    return Ipv6Address(bytes);
}

bool set_option(int descriptor, int level, int name, int value) {
    return ::setsockopt(descriptor, level, name, &value, sizeof value) == 0;
}

bool bind_to(int descriptor, const Ipv6Address& local) {
    const auto address = native(local);
    return ::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

bool prepare(int descriptor) {
    // Larger than what net.core allows to everybody; without the right to it, what is allowed.
    if (!set_option(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, socket_buffer_size)) {
        set_option(descriptor, SOL_SOCKET, SO_RCVBUF, socket_buffer_size);
    }
    if (!set_option(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, socket_buffer_size)) {
        set_option(descriptor, SOL_SOCKET, SO_SNDBUF, socket_buffer_size);
    }
    // Fragment to the path MTU, never refuse for its sake: the rule about DF is the carrier's.
    return set_option(descriptor, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_WANT) &&
           set_option(descriptor, IPPROTO_IPV6, IPV6_UNICAST_HOPS, hop_limit) &&
           set_option(descriptor, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) &&
           set_option(descriptor, IPPROTO_IPV6, IPV6_RECVERR, 1);
}

std::uint8_t traffic_class_of(msghdr& message) {
    for (auto* part = CMSG_FIRSTHDR(&message); part != nullptr;
         part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level != IPPROTO_IPV6 || part->cmsg_type != IPV6_TCLASS) continue;
        int value = 0;
        std::memcpy(&value, CMSG_DATA(part), sizeof value);
        return static_cast<std::uint8_t>(value);
    }
    return 0;
}

struct Envelope {
    sockaddr_in6 address{};
    iovec data{};
    alignas(cmsghdr) std::array<char, control_size> control{};
};

void write_traffic_class(msghdr& message, std::uint8_t traffic_class) {
    auto* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = IPPROTO_IPV6;
    part->cmsg_type = IPV6_TCLASS;
    part->cmsg_len = CMSG_LEN(sizeof(int));
    const int value = traffic_class;
    std::memcpy(CMSG_DATA(part), &value, sizeof value);
}

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

Drop drop_for(int error) {
    const bool full = error == ENOBUFS || error == EAGAIN || error == ENOMEM;
    return full ? Drop::send_queue_full : Drop::send_failed;
}

}  // namespace

Result<OuterSocket> OuterSocket::open(const Ipv6Address& local) {
    Descriptor raw(::socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_IPIP));
    Descriptor probe(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!raw.is_open() || !probe.is_open() || !prepare(raw.number())) {
        return tl::unexpected(error_from_errno(errno, "open a raw IPv6 socket"));
    }
    if (!bind_to(raw.number(), local) || !bind_to(probe.number(), local)) {
        return tl::unexpected(error_from_errno(errno, "bind to " + local.to_string()));
    }
    return OuterSocket(std::move(raw), std::move(probe));
}

void OuterSocket::receive(BatchBuffer& buffer, std::vector<IncomingPacket>& out) {
    std::array<Envelope, batch_size_max> envelopes;
    std::array<mmsghdr, batch_size_max> messages{};
    for (std::size_t i = 0; i < batch_size_max; ++i) {
        const auto slot = buffer.slot(i);
        envelopes[i].data = {slot.data(), slot.size()};
        messages[i].msg_hdr = message_around(envelopes[i]);
    }
    out.clear();
    const int count =
        ::recvmmsg(raw_.number(), messages.data(), batch_size_max, MSG_DONTWAIT, nullptr);
    for (std::size_t i = 0; count > 0 && i < static_cast<std::size_t>(count); ++i) {
        out.push_back({value_of(envelopes[i].address), traffic_class_of(messages[i].msg_hdr),
                       buffer.slot(i).first(messages[i].msg_len)});
    }
}

void OuterSocket::send(std::span<const OutgoingPacket> packets, DropTable& drops) {
    DSTM_ASSERT(packets.size() <= batch_size_max);
    std::array<Envelope, batch_size_max> envelopes;
    std::array<mmsghdr, batch_size_max> messages{};
    for (std::size_t i = 0; i < packets.size(); ++i) {
        envelopes[i].address = native(packets[i].destination);
        // The interface of sendmsg is not const, the call is.
        envelopes[i].data = {const_cast<std::uint8_t*>(packets[i].payload.data()),
                             packets[i].payload.size()};
        messages[i].msg_hdr = message_around(envelopes[i]);
        write_traffic_class(messages[i].msg_hdr, packets[i].traffic_class);
    }
    std::size_t next = 0;
    bool retried = false;
    while (next < packets.size()) {
        const int sent = ::sendmmsg(raw_.number(), &messages[next],
                                    static_cast<unsigned>(packets.size() - next), MSG_DONTWAIT);
        if (sent > 0) {
            next += static_cast<std::size_t>(sent);
            retried = false;
        } else if (!retried) {
            // With IPV6_RECVERR an ICMPv6 error about an earlier packet fails the next call once.
            retried = true;
        } else {
            drops.count(drop_for(errno));
            ++next;
            retried = false;
        }
    }
}

std::optional<PathError> OuterSocket::next_error(MutableBytes buffer) {
    sockaddr_in6 destination{};
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
        const auto size = ::recvmsg(raw_.number(), &message, MSG_ERRQUEUE | MSG_DONTWAIT);
        if (size < 0) {
            // The last error stays pending beside its queue until it is asked for.
            int pending = 0;
            socklen_t pending_size = sizeof pending;
            ::getsockopt(raw_.number(), SOL_SOCKET, SO_ERROR, &pending, &pending_size);
            return std::nullopt;
        }
        for (auto* part = CMSG_FIRSTHDR(&message); part != nullptr;
             part = CMSG_NXTHDR(&message, part)) {
            if (part->cmsg_level != IPPROTO_IPV6 || part->cmsg_type != IPV6_RECVERR) continue;
            sock_extended_err error{};
            std::memcpy(&error, CMSG_DATA(part), sizeof error);
            if (error.ee_origin != SO_EE_ORIGIN_ICMP6) continue;
            return PathError{error.ee_type, error.ee_code, error.ee_info, value_of(destination),
                             buffer.first(static_cast<std::size_t>(size))};
        }
    }
}

std::uint32_t OuterSocket::link_mtu(const Ipv6Address& destination) {
    auto address = native(destination);
    address.sin6_port = htons(9);  // any; nothing is sent
    int mtu = 0;
    socklen_t size = sizeof mtu;
    if (::connect(probe_.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
            0 ||
        ::getsockopt(probe_.number(), IPPROTO_IPV6, IPV6_MTU, &mtu, &size) != 0 || mtu <= 0) {
        return ipv6_mtu_min;
    }
    return static_cast<std::uint32_t>(mtu);
}

}  // namespace dstm::dataplane
