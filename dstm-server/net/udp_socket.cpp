// recvmsg and sendmsg with the packet-information control message.
#include "dstm-server/net/udp_socket.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace dstm::server::net {
namespace {

constexpr int buffer_size = 1024 * 1024;  // a campus that comes back after an outage
constexpr std::size_t control_size =
    CMSG_SPACE(sizeof(in6_pktinfo)) + CMSG_SPACE(sizeof(in_pktinfo));

IpAddress address_of(const in6_addr& native) {
    Ipv6Address::Bytes bytes{};
    std::memcpy(bytes.data(), &native, bytes.size());
    return unmap(Ipv6Address(bytes));
}

in6_addr mapped(const IpAddress& address) {
    in6_addr native{};
    if (const auto* v4 = std::get_if<Ipv4Address>(&address)) {
        const std::uint32_t bits = htonl(v4->host_order());
        native.s6_addr[10] = native.s6_addr[11] = 0xff;
        std::memcpy(&native.s6_addr[12], &bits, sizeof bits);
    } else {
        const auto& bytes = std::get<Ipv6Address>(address).bytes();
        std::memcpy(&native, bytes.data(), bytes.size());
    }
    return native;
}

void read_peer(const sockaddr_storage& name, UdpSocket::Received& received) {
    if (name.ss_family == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, &name, sizeof v4);
        received.peer = {Ipv4Address(ntohl(v4.sin_addr.s_addr)), ntohs(v4.sin_port)};
        return;
    }
    sockaddr_in6 v6{};
    std::memcpy(&v6, &name, sizeof v6);
    received.peer = {address_of(v6.sin6_addr), ntohs(v6.sin6_port)};
    received.interface = v6.sin6_scope_id;  // 0 unless link-local
}

void read_local(msghdr& message, UdpSocket::Received& received) {
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
         part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_PKTINFO) {
            in6_pktinfo info{};
            std::memcpy(&info, CMSG_DATA(part), sizeof info);
            received.local = address_of(info.ipi6_addr);
        } else if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_PKTINFO) {
            in_pktinfo info{};
            std::memcpy(&info, CMSG_DATA(part), sizeof info);
            // Where replies are to come from; differs from ipi_addr for a broadcast.
            received.local = Ipv4Address(ntohl(info.ipi_spec_dst.s_addr));
        }
    }
}

template <class Info>
void write_control(msghdr& message, int level, int type, const Info& info) {
    message.msg_controllen = CMSG_SPACE(sizeof info);
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = level;
    part->cmsg_type = type;
    part->cmsg_len = CMSG_LEN(sizeof info);
    std::memcpy(CMSG_DATA(part), &info, sizeof info);
}

asio::ip::udp::endpoint native(const IpEndpoint& endpoint) {
    if (const auto* v4 = std::get_if<Ipv4Address>(&endpoint.address)) {
        return {asio::ip::address_v4(v4->host_order()), endpoint.port};
    }
    return {asio::ip::address_v6(std::get<Ipv6Address>(endpoint.address).bytes()), endpoint.port};
}

}  // namespace

Result<void> UdpSocket::open(const IpEndpoint& endpoint, bool only_v6) {
    const auto local = native(endpoint);
    const bool is_v6 = local.address().is_v6();
    ErrorCodeOfAsio error;
    socket_.open(local.protocol(), error);
    if (!error && is_v6) socket_.set_option(asio::ip::v6_only(only_v6), error);
    if (!error) socket_.non_blocking(true, error);
    if (!error) socket_.bind(local, error);
    if (error) {
        const bool is_temporary = error == asio::error::address_in_use;
        return fail(is_temporary ? ErrorCode::unavailable : ErrorCode::invalid,
                    "listen by UDP on " + to_string(endpoint) + ": " + error.message());
    }
    ErrorCodeOfAsio ignored;  // the kernel gives as much as it allows
    socket_.set_option(asio::socket_base::receive_buffer_size(buffer_size), ignored);
    const int on = 1;
    const int level = is_v6 ? IPPROTO_IPV6 : IPPROTO_IP;
    const int option = is_v6 ? IPV6_RECVPKTINFO : IP_PKTINFO;
    if (::setsockopt(socket_.native_handle(), level, option, &on, sizeof on) != 0) {
        return tl::unexpected(error_from_errno(errno, "UDP packet information"));
    }
    return {};
}

std::optional<UdpSocket::Received> UdpSocket::receive(std::span<char> buffer) {
    sockaddr_storage name{};
    alignas(cmsghdr) std::array<char, control_size> control{};
    iovec part{buffer.data(), buffer.size()};
    msghdr message{};
    message.msg_name = &name;
    message.msg_namelen = sizeof name;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    ssize_t size = 0;
    do {
        size = ::recvmsg(socket_.native_handle(), &message, MSG_DONTWAIT);
    } while (size < 0 && errno == EINTR);
    if (size < 0) return std::nullopt;
    Received received;
    received.bytes = {buffer.data(), static_cast<std::size_t>(size)};
    received.is_cut = (message.msg_flags & MSG_TRUNC) != 0;
    read_peer(name, received);
    read_local(message, received);
    return received;
}

bool UdpSocket::send(std::string_view bytes, const IpEndpoint& peer, const IpAddress& local,
                     std::uint32_t interface) {
    ErrorCodeOfAsio ignored;
    const bool is_v6_socket = socket_.local_endpoint(ignored).address().is_v6();
    alignas(cmsghdr) std::array<char, control_size> control{};
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};  // sendmsg does not write to it
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    sockaddr_in6 to_v6{};
    sockaddr_in to_v4{};
    if (is_v6_socket) {
        to_v6.sin6_family = AF_INET6;
        to_v6.sin6_port = htons(peer.port);
        to_v6.sin6_addr = mapped(peer.address);
        to_v6.sin6_scope_id = interface;
        message.msg_name = &to_v6;
        message.msg_namelen = sizeof to_v6;
        in6_pktinfo info{};
        info.ipi6_addr = mapped(local);
        info.ipi6_ifindex = interface;
        write_control(message, IPPROTO_IPV6, IPV6_PKTINFO, info);
    } else {
        to_v4.sin_family = AF_INET;
        to_v4.sin_port = htons(peer.port);
        to_v4.sin_addr.s_addr = htonl(std::get<Ipv4Address>(peer.address).host_order());
        message.msg_name = &to_v4;
        message.msg_namelen = sizeof to_v4;
        in_pktinfo info{};
        info.ipi_spec_dst.s_addr = htonl(std::get<Ipv4Address>(local).host_order());
        write_control(message, IPPROTO_IP, IP_PKTINFO, info);
    }
    const auto sent = ::sendmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent == static_cast<ssize_t>(bytes.size());
}

IpEndpoint UdpSocket::local_endpoint() const {
    ErrorCodeOfAsio error;
    const auto local = socket_.local_endpoint(error);
    if (error) return {};
    if (local.address().is_v4()) {
        return {Ipv4Address(local.address().to_v4().to_uint()), local.port()};
    }
    return {Ipv6Address(local.address().to_v6().to_bytes()), local.port()};
}

}  // namespace dstm::server::net
