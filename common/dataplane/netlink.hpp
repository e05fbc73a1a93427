// What the endpoint and the client change and read on the host's network, by libnl-3:
// interfaces, addresses, routes. Blocking, but every call is one or a few kernel round trips.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"

namespace dstm::dataplane {

using IpPrefix = std::variant<Ipv4Prefix, Ipv6Prefix>;

struct Route {
    enum class Kind { unicast, blackhole, unreachable };
    IpPrefix destination;
    Kind kind = Kind::unicast;
    int interface_index = 0;  // of unicast only
    std::optional<IpAddress> gateway;
    std::optional<IpAddress> source;  // preferred source
    std::uint32_t metric = 0;
    std::uint32_t mtu = 0;       // 0 = none
    bool is_mtu_locked = false;  // written only: holds for forwarded IPv6 too, whatever is learned
    bool is_link_down = false;   // read only: the interface has no carrier
};

// Whether the table that was read holds exactly this route.
[[nodiscard]] bool holds(const std::vector<Route>& table, const Route& route);

class Netlink {
public:
    [[nodiscard]] static Result<Netlink> open();
    Netlink(Netlink&&) noexcept;
    Netlink& operator=(Netlink&&) noexcept;
    ~Netlink();

    // not_found when there is no such interface.
    [[nodiscard]] Result<int> interface_index(const std::string& name);
    [[nodiscard]] Result<std::string> interface_name(int index);
    [[nodiscard]] Result<std::uint32_t> interface_mtu(int index);
    [[nodiscard]] Result<void> set_interface_up(int index, bool up);
    [[nodiscard]] Result<void> set_interface_mtu(int index, std::uint32_t mtu);
    // Which interface holds this address; not_found when none does.
    [[nodiscard]] Result<int> interface_of_address(const IpAddress& address);

    // With their prefix lengths; none that belong to the link only.
    [[nodiscard]] Result<std::vector<IpPrefix>> addresses_of(int index);

    // Adding what is there already and removing what is not is no error: both leave the host in
    // the state that was asked for.
    [[nodiscard]] Result<void> add_address(int index, const IpAddress& address,
                                           std::uint8_t prefix_length);
    [[nodiscard]] Result<void> remove_address(int index, const IpAddress& address,
                                              std::uint8_t prefix_length);
    // conflict: a route with the same destination and metric leads elsewhere; it is left alone.
    [[nodiscard]] Result<void> add_route(const Route& route);
    // Reads no table, however large. False: one with the same destination and metric is there,
    // wherever it leads.
    [[nodiscard]] Result<bool> add_missing_route(const Route& route);
    // Whatever stood there with the same metric: at no moment does none stand.
    [[nodiscard]] Result<void> replace_route(const Route& route);
    [[nodiscard]] Result<void> remove_route(const Route& route);
    // Of the main table.
    [[nodiscard]] Result<std::vector<Route>> routes_v4();
    [[nodiscard]] Result<std::vector<Route>> routes_v6();

private:
    struct Impl;
    explicit Netlink(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace dstm::dataplane
