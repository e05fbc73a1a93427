// Where Kea's interfaces differ between releases. The hook is built and tested with 2.2; these keep
// the differences in one place.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

#include <dhcpsrv/alloc_engine.h>
#include <hooks/hooks.h>

namespace dstm::kea {

static_assert(KEA_HOOKS_VERSION >= 20200, "Kea 2.2 or newer");

// 2.2: (type, attempts, ipv6). From 2.4 on: (attempts), the allocators belong to the subnets.
template <class Engine>
[[nodiscard]] std::unique_ptr<Engine> make_engine(std::uint64_t attempts, bool ipv6) {
    if constexpr (KEA_HOOKS_VERSION < 20400) {
        return std::make_unique<Engine>(Engine::ALLOC_ITERATIVE, attempts, ipv6);
    } else {
        return std::make_unique<Engine>(attempts);
    }
}

// Subnet4Ptr; from 3.0 on ConstSubnet4Ptr.
using Subnet4Ptr = decltype(isc::dhcp::AllocEngine::ClientContext4::subnet_);
using Subnet6Ptr = decltype(isc::dhcp::AllocEngine::ClientContext6::subnet_);
using SubnetPtr = boost::shared_ptr<std::conditional_t<std::is_const_v<Subnet4Ptr::element_type>,
                                                       const isc::dhcp::Subnet, isc::dhcp::Subnet>>;

}  // namespace dstm::kea
