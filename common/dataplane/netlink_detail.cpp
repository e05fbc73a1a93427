// libnl's conventions turned into ours, once.
#include "common/dataplane/netlink_detail.hpp"

#include <algorithm>

#include <arpa/inet.h>

namespace dstm::dataplane::detail {

Result<Socket> open_socket() {
    auto socket = owned<Socket>(nl_socket_alloc());
    const int error = nl_connect(socket.get(), NETLINK_ROUTE);
    if (error < 0) return fail_netlink(error, "open netlink");
    return socket;
}

Result<Socket> open_listener(std::initializer_list<int> groups) {
    auto socket = open_socket();
    if (!socket) return socket;
    nl_socket_disable_seq_check(socket->get());  // of answers, and these are none
    int error = nl_socket_set_nonblocking(socket->get());
    for (const int group : groups) {
        if (error == 0) error = nl_socket_add_membership(socket->get(), group);
    }
    if (error < 0) return fail_netlink(error, "listen to rtnetlink");
    return socket;
}

ErrorCode code_of(int nl_error) {
    switch (-nl_error) {
        case NLE_OBJ_NOTFOUND:
        case NLE_NODEV:
        case NLE_NOADDR: return ErrorCode::not_found;
        case NLE_EXIST:
        case NLE_BUSY: return ErrorCode::conflict;
        case NLE_INVAL:
        case NLE_RANGE:
        case NLE_AF_NOSUPPORT:
        case NLE_AF_MISMATCH: return ErrorCode::invalid;
        case NLE_PERM: return ErrorCode::refused;
        default: return ErrorCode::unavailable;
    }
}

tl::unexpected<Error> fail_netlink(int nl_error, const std::string& doing) {
    return fail(code_of(nl_error), doing + ": " + nl_geterror(nl_error));
}

Result<void> check(int nl_error, const std::string& doing) {
    if (nl_error < 0) return fail_netlink(nl_error, doing);
    return {};
}

Address native_address(const IpAddress& address) {
    if (const auto* v4 = std::get_if<Ipv4Address>(&address)) {
        const auto value = htonl(v4->host_order());
        return owned<Address>(nl_addr_build(AF_INET, &value, sizeof value));
    }
    const auto& bytes = std::get<Ipv6Address>(address).bytes();
    return owned<Address>(nl_addr_build(AF_INET6, bytes.data(), bytes.size()));
}

std::optional<IpAddress> value_of(const nl_addr* address) {
    if (address == nullptr) return std::nullopt;
    const void* binary = nl_addr_get_binary_addr(address);
    const auto size = nl_addr_get_len(address);
    if (nl_addr_get_family(address) == AF_INET && size == 4) {
        std::uint32_t value = 0;
        std::copy_n(static_cast<const char*>(binary), 4, reinterpret_cast<char*>(&value));
        return Ipv4Address(ntohl(value));
    }
    if (nl_addr_get_family(address) == AF_INET6 && size == 16) {
        Ipv6Address::Bytes bytes;
        std::copy_n(static_cast<const std::uint8_t*>(binary), 16, bytes.begin());
        return Ipv6Address(bytes);
    }
    return std::nullopt;
}

}  // namespace dstm::dataplane::detail
