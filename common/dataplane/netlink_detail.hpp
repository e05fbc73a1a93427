// What the files that use libnl-3 share: owners of its objects, its errors as ours, addresses as
// its own. Only for them; nobody else sees a header of libnl.
#pragma once

#include <initializer_list>
#include <memory>
#include <new>
#include <optional>
#include <string>

#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/route.h>

#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"

namespace dstm::dataplane::detail {

template <auto put>
struct Put {
    template <class T>
    void operator()(T* object) const {
        put(object);
    }
};
using Socket = std::unique_ptr<nl_sock, Put<nl_socket_free>>;
using Link = std::unique_ptr<rtnl_link, Put<rtnl_link_put>>;
using Address = std::unique_ptr<nl_addr, Put<nl_addr_put>>;
using InterfaceAddress = std::unique_ptr<rtnl_addr, Put<rtnl_addr_put>>;
using NativeRoute = std::unique_ptr<rtnl_route, Put<rtnl_route_put>>;
using Cache = std::unique_ptr<nl_cache, Put<nl_cache_free>>;

// libnl answers "no memory" with a null pointer; there is nothing to do about that.
template <class Owner>
Owner owned(typename Owner::pointer object) {
    if (object == nullptr) throw std::bad_alloc();
    return Owner(object);
}

[[nodiscard]] Result<Socket> open_socket();
// Hears what the kernel reports to these groups (RTNLGRP_...); never waits.
[[nodiscard]] Result<Socket> open_listener(std::initializer_list<int> groups);

[[nodiscard]] ErrorCode code_of(int nl_error);
[[nodiscard]] tl::unexpected<Error> fail_netlink(int nl_error, const std::string& doing);
[[nodiscard]] Result<void> check(int nl_error, const std::string& doing);

[[nodiscard]] Address native_address(const IpAddress& address);
[[nodiscard]] std::optional<IpAddress> value_of(const nl_addr* address);

}  // namespace dstm::dataplane::detail
