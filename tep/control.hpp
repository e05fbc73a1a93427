// Keeps a link to every configured server and looks after the table in between: what has expired
// is swept, what is idle is told. Installs come from whichever server has the client; signalling
// that comes to the endpoint goes to one of them (relay.hpp).
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "common/io/timer.hpp"
#include "tep/config.hpp"
#include "tep/relay.hpp"
#include "tep/server_link.hpp"
#include "tep/tunnel_table.hpp"

namespace dstm::tep {

class Control {
public:
    // Everything passed by reference must outlive the control.
    Control(asio::io_context& context, const Clock& clock, const Config& config, TunnelTable& table,
            dataplane::DataPlane& plane, Relay& relay,
            io::LinkOptions options = io::endpoint_link_options());

    void start();
    // Says `down` on every link and closes it; `done` runs when all are gone, within a second or
    // so.
    void stop(std::function<void()> done);

    [[nodiscard]] const std::vector<std::shared_ptr<ServerLink>>& links() const { return links_; }

private:
    void sweep_later();
    void look_for_idle_later(const std::optional<IpAddress>& from);

    const Clock& clock_;
    TunnelTable& table_;
    ServerLink::Services services_;
    std::chrono::seconds idle_timeout_;
    std::vector<std::shared_ptr<ServerLink>> links_;
    io::Timer sweep_;
    io::Timer idle_;
};

// What the daemon allows a server to install.
[[nodiscard]] TunnelPolicy policy_of(const Config& config);

}  // namespace dstm::tep
