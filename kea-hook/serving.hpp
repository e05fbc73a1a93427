// May this server give leases now? Kea's own switch (dhcp-disable, a partner that synchronises)
// and, where the HA hook is loaded, the scopes that this server serves: the allocation engine asks
// for neither.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include <dhcpsrv/network_state.h>

namespace dstm::kea {

// What "status-get" says of high availability, reduced. Null arguments: no HA.
struct HaView {
    bool configured = false;
    std::vector<std::string> scopes;  // served by this server
};
[[nodiscard]] HaView read_ha_view(const isc::data::ConstElementPtr& status_arguments);

class Serving {
public:
    void set_network_state(const isc::dhcp::NetworkStatePtr& state) { network_state_ = state; }

    // Why not, or nothing.
    [[nodiscard]] std::optional<std::string> refusal();
    // "HA_<scope>" for each scope that is served: split pools are guarded by these classes.
    [[nodiscard]] std::vector<std::string> classes();

private:
    const HaView& ha();

    isc::dhcp::NetworkStatePtr network_state_;
    HaView ha_;
    std::optional<std::chrono::steady_clock::time_point> ha_read_at_;
};

}  // namespace dstm::kea
