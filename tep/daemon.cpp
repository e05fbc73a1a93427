// The order of start and stop. Objects are declared so that each outlives those that use it.
#include "tep/daemon.hpp"

#include <csignal>

#include "common/io/asio.hpp"
#include "common/io/line_server.hpp"
#include "common/io/real_clock.hpp"
#include "common/io/sd_notify.hpp"
#include "common/io/signals.hpp"
#include "common/log/log.hpp"
#include "tep/admin.hpp"
#include "tep/control.hpp"
#include "tep/data_plane_choice.hpp"
#include "tep/relay.hpp"

namespace dstm::tep {

int run_daemon(const Config& config) {
    const RealClock clock;
    asio::io_context context(1);
    Relay relay(context, clock);  // outlives the plane, whose thread calls it
    int exit_code = 0;
    bool is_stopping = false;
    std::function<void()> stop;
    PlaneCalls calls;
    calls.tsp_datagram = [&relay](const IpEndpoint& peer, ConstBytes bytes) {
        relay.hand_over(peer, bytes);
    };
    calls.device_gone = [&] {
        asio::post(context, [&] {
            exit_code = 1;  // whoever started it starts it again
            if (!std::exchange(is_stopping, true)) stop();
        });
    };
    auto choice = make_data_plane(config, clock, calls);
    if (!choice) {
        log_error("TEP_DATA_PLANE_FAILED", "data-plane={} error={}", config.data_plane,
                  to_string(choice.error()));
        return 1;
    }
    auto& plane = *choice->plane;
    TunnelTable table(policy_of(config), plane, clock.wall());
    Control control(context, clock, config, table, plane, relay);

    std::unique_ptr<io::LineServer> admin;
    if (!config.admin_socket.empty()) {
        const AdminView view{config, table, plane, control, relay};
        auto listening = io::LineServer::listen(
            context, config.admin_socket,
            [view](const std::string& line) { return answer_admin(view, line); });
        if (!listening) {
            log_error("TEP_ADMIN_SOCKET_FAILED", "error={}", to_string(listening.error()));
            return 1;
        }
        admin = std::move(*listening);
    }

    stop = [&] {
        io::sd_notify("STOPPING=1");
        control.stop([&] { context.stop(); });
    };
    const io::Signals signals(context, {SIGTERM, SIGINT}, [&](int number) {
        if (std::exchange(is_stopping, true)) return;
        log_info("TEP_STOPPING", "signal={} tunnels={}", number, table.size());
        stop();
    });
    control.start();
    log_info("TEP_STARTED", "name={} data-plane={} why={} device={} outer={} inner={} tunnels={}",
             config.name, plane.name(), log::quoted(choice->why), config.device,
             config.outer_ipv6.to_string(), config.inner_ipv4.to_string(), table.size());
    io::sd_notify("READY=1");
    context.run();
    log_info("TEP_STOPPED", "name={}", config.name);
    return exit_code;
}

}  // namespace dstm::tep
