// Joins the parts of the process and their lives; decides nothing about tunnels.
#include "client/daemon.hpp"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <memory>
#include <utility>

#include "client/control.hpp"
#include "client/control_socket.hpp"
#include "client/demand.hpp"
#include "client/driver.hpp"
#include "client/host/monitor.hpp"
#include "client/host/native_way.hpp"
#include "client/host/plane_choice.hpp"
#include "client/host/state_directory.hpp"
#include "client/host/tunnel_host.hpp"
#include "client/net/errands.hpp"
#include "client/net/icmp_probe.hpp"
#include "client/net/server_finder.hpp"
#include "client/net/signalling.hpp"
#include "client/parts.hpp"
#include "client/path_watch.hpp"
#include "client/report.hpp"
#include "common/io/asio.hpp"
#include "common/io/real_clock.hpp"
#include "common/io/sd_notify.hpp"
#include "common/io/signals.hpp"
#include "common/io/timer.hpp"
#include "common/log/log.hpp"

namespace dstm::client {
namespace {

constexpr Duration first_request_timeout = std::chrono::seconds(30);
constexpr Duration rest_after_restore = std::chrono::seconds(1);

// Everything of one run. Members are torn down in the reverse of this order.
class Daemon {
public:
    Daemon(const Settings& settings, const RunOptions& options, StateDirectory state,
           dataplane::Netlink netlink, Identity identity, const std::string& host_id)
        : settings_(settings),
          options_(options),
          state_(std::move(state)),
          host_(host_config(settings), state_, std::move(netlink),
                [this] { return make_plane(); }),
          last_good_(recall()),
          signalling_(make_signalling(
              context_, clock_, with_memory(signalling_config(settings, std::move(identity))),
              [this](const Event& event) { driver_.handle(event); })),
          probe_(make_icmp_probe(context_, settings.device,
                                 [this](const Event& event) { driver_.handle(event); })),
          wake_(context_),
          rest_(context_),
          give_up_(context_),
          watchdog_(context_),
          driver_(Engine(with_memory(engine_config(settings, options, host_id))),
                  {*signalling_, host_, *probe_, clock_,
                   [this](std::optional<Instant> at) { set_timer(at); },
                   [this] { look_for_servers(); }}),
          path_watch_(context_, settings.device, driver_),
          control_(driver_),
          look_ups_(context_) {
        if (!settings.idle_timeout) return;
        const DemandConfig config{settings.device, settings.routes, settings.route_metric};
        demand_.emplace(context_, config, *settings.idle_timeout, driver_, clock_,
                        [this] { return probe_->sent() + path_watch_.sent(); });
    }

    Result<void> start() {
        auto socket = ControlSocket::listen(context_, settings_.control_socket, control_);
        if (!socket) return tl::unexpected(socket.error());
        control_socket_.emplace(std::move(*socket));
        host_.recover();
        const auto plane =
            choose_plane(settings_.data_plane, settings_.tunnel_type, settings_.device);
        if (!plane) return tl::unexpected(plane.error());
        plane_ = *plane;
        auto monitor = Monitor::start(context_, [this] { host_changed(); });
        if (monitor) {
            monitor_.emplace(std::move(*monitor));
        } else {
            log_warning("CLIENT_MONITOR_FAILED", "{}", to_string(monitor.error()));
        }
        if (auto routes = dataplane::Netlink::open()) routes_.emplace(std::move(*routes));
        look_for_native_way();
        if (demand_ && !native_way_) {
            if (const auto watching = demand_->start(); !watching) return watching;
        }
        driver_.observe([this](const Announce& announcement) { observe(announcement); });
        driver_.on_stopped([this] { asio::post(context_, [this] { wind_up(); }); });
        show_life();
        signals_.emplace(context_, std::initializer_list<int>{SIGTERM, SIGINT, SIGHUP},
                         [this](int) { stop(); });
        return {};
    }

    ExitCode run() {
        if (options_.waits_for_request) {
            give_up_.after(first_request_timeout, [this] {
                if (driver_.engine().state() == State::stopped) stop();
            });
        } else {
            if (options_.timeout) give_up_.after(*options_.timeout, [this] { time_out(); });
            driver_.handle(StartRequested{});
        }
        context_.run();
        return exit_code_;
    }

private:
    Result<std::unique_ptr<dataplane::DataPlane>> make_plane() {
        dataplane::TunPlaneConfig config;
        config.role = dataplane::TunPlaneConfig::Role::client;
        config.device = settings_.device;
        config.gro_record = settings_.state_directory + "/gro-was-on";
        config.udp_port = settings_.port;
        config.udp_socket = [this](const TunnelSpec&) { return signalling_->lend_socket(); };
        config.tsp_datagram = [this](const IpEndpoint& from, ConstBytes datagram) {
            std::string copy(datagram.begin(), datagram.end());
            asio::post(context_, [this, from, copy = std::move(copy)] {
                signalling_->receive(from, copy);
            });
        };
        config.path_mtu_changed = [this](std::uint32_t) {
            asio::post(context_, [this] { look_at_path(); });
        };
        return client::make_plane(plane_, config, clock_);
    }

    // --- who served last -------------------------------------------------------------------------

    std::optional<GoodServer> recall() {
        const auto good = state_.last_good();
        if (good) return *good;
        if (good.error().code != ErrorCode::not_found) {
            log_warning("CLIENT_RECORD_IGNORED", "{}", to_string(good.error()));
        }
        return std::nullopt;
    }

    SignallingConfig with_memory(SignallingConfig config) {
        config.last_good = last_good_;
        config.remember = [this](const GoodServer& good) {
            if (const auto kept = state_.keep_last_good(good); !kept) {
                log_warning("CLIENT_RECORD_FAILED", "{}", to_string(kept.error()));
            }
        };
        return config;
    }

    [[nodiscard]] EngineConfig with_memory(EngineConfig config) const {
        if (last_good_) config.last_good = last_good_->server;
        return config;
    }

    void look_at_path() {
        const auto& engine = driver_.engine();
        if (engine.binding() && engine.state() == State::up) path_watch_.look(*engine.binding());
    }

    void set_timer(std::optional<Instant> at) {
        if (!at) {
            wake_.cancel();
            return;
        }
        wake_.after(std::max(Duration{0}, *at - clock_.now()), [this] { driver_.wake(); });
    }

    void host_changed() {
        look_for_native_way();
        restore_host();
        driver_.host_changed();
    }

    // Not again at once: whoever takes things away may insist, and our own changes are reported to
    // us as well.
    void restore_host() {
        is_restore_due_ = rest_.is_armed();
        if (is_restore_due_) return;
        const bool tunnel_lacked = host_.restore();
        const bool demand_lacked = demand_ && demand_->restore();
        if (!tunnel_lacked && !demand_lacked) return;
        rest_.after(rest_after_restore, [this] {
            if (is_restore_due_) restore_host();
        });
    }

    // Told when it changes; what cannot be read is as it was.
    void look_for_native_way() {
        if (!settings_.yields_to_native || !routes_) return;
        const auto exists = has_native_ipv4(*routes_, settings_.device);
        if (!exists || *exists == native_way_) return;
        native_way_ = *exists;
        driver_.handle(NativeWayChanged{native_way_});
    }

    // From the event loop: a loop that hangs shows none.
    void show_life() {
        const auto interval = io::watchdog_interval();
        if (!interval) return;
        io::sd_notify("WATCHDOG=1");
        watchdog_.after(*interval / 2, [this] { show_life(); });
    }

    void look_for_servers() {
        const auto work = [services = services_of(settings_)] { return find_servers(services); };
        const auto done = [this](const Result<std::vector<Target>>& found) {
            driver_.handle(found ? ServersFound{*found, {}}
                                 : ServersFound{{}, found.error().context});
        };
        if (look_ups_.run(work, done)) return;
        asio::post(context_, [this] {
            driver_.handle(ServersFound{{}, "too many look-ups wait for the DNS"});
        });
    }

    void observe(const Announce& announcement) {
        using What = Announce::What;
        log_announcement(announcement, driver_.engine(), settings_.user);
        const auto& binding = driver_.engine().binding();
        const bool is_new_path =
            announcement.what == What::up || announcement.what == What::moved;
        if (is_new_path) path_watch_.look(*binding);
        if (announcement.what == What::down) path_watch_.stop();
        if (announcement.what == What::up) {
            has_been_up_ = true;
            failure_.clear();
            if (options_.prints) say(stdout, describe(*binding));
        }
        // There is IPv4, or will be for the first packet: what was asked for.
        const bool needs_no_tunnel =
            announcement.what == What::aside || announcement.what == What::dormant;
        if (needs_no_tunnel && options_.prints) say(stdout, announcement.text);
        const bool is_done = announcement.what == What::up || needs_no_tunnel;
        if (is_done && !options_.waits_for_request) give_up_.cancel();
        // The boot waits for neither the server nor the network.
        if (is_done || announcement.what == What::retrying) io::sd_notify("READY=1");
        if (demand_) demand_->observe(announcement);
        if (announcement.what == What::refused || announcement.what == What::failed) {
            failure_ = announcement.text;
            if (driver_.engine().state() == State::stopped) {
                exit_code_ =
                    announcement.what == What::refused ? ExitCode::refused : ExitCode::failed;
            }
            if (options_.prints) say(stderr, "dstm-client: " + announcement.text);
        }
        io::sd_notify("STATUS=" + (binding ? describe(*binding)
                                           : std::string(to_string(driver_.engine().state())) +
                                                 ": " + announcement.text));
        control_.observe(announcement);
    }

    static void say(std::FILE* out, const std::string& text) {
        std::fprintf(out, "%s\n", text.c_str());
        std::fflush(out);
    }

    void time_out() {
        if (has_been_up_) return;
        timed_out_ = true;
        if (options_.prints) {
            say(stderr, "dstm-client: no tunnel in time" +
                            (failure_.empty() ? std::string() : ": " + failure_));
        }
        stop();
    }

    void stop() {
        if (std::exchange(asked_to_stop_, true)) {
            context_.stop();
            return;
        }
        io::sd_notify("STOPPING=1");
        if (driver_.engine().state() == State::stopped) {
            wind_up();
        } else {
            driver_.handle(StopRequested{});
        }
    }

    // All that keeps the event loop alive goes; replies and a last message on their way are still
    // written, each within its own bound.
    void wind_up() {
        if (std::exchange(wound_up_, true)) return;
        if (timed_out_) exit_code_ = ExitCode::timed_out;
        // To whoever waited for something else than the end.
        control_.stopped(failure_.empty() ? "the client was stopped" : failure_,
                         exit_code_ == ExitCode::success ? ExitCode::failed : exit_code_);
        control_socket_.reset();
        monitor_.reset();
        signals_.reset();
        wake_.cancel();
        give_up_.cancel();
        watchdog_.cancel();
        rest_.cancel();
        demand_.reset();
        signalling_->close();
        probe_->close();
        path_watch_.stop();
    }

    const Settings& settings_;
    const RunOptions& options_;
    RealClock clock_;
    asio::io_context context_{1};
    StateDirectory state_;
    PlaneKind plane_ = PlaneKind::tun;
    TunnelHost host_;
    std::optional<GoodServer> last_good_;  // of an earlier life
    std::unique_ptr<Signalling> signalling_;
    std::unique_ptr<EchoProbe> probe_;
    io::Timer wake_;
    io::Timer rest_;
    io::Timer give_up_;
    io::Timer watchdog_;
    Driver driver_;
    PathWatch path_watch_;
    Control control_;
    std::optional<ControlSocket> control_socket_;
    std::optional<Monitor> monitor_;
    std::optional<io::Signals> signals_;
    Errands look_ups_;

    std::optional<dataplane::Netlink> routes_;
    std::optional<Demand> demand_;
    bool is_restore_due_ = false;
    bool native_way_ = false;
    bool has_been_up_ = false;
    bool asked_to_stop_ = false;
    bool timed_out_ = false;
    bool wound_up_ = false;
    std::string failure_;
    ExitCode exit_code_ = ExitCode::success;
};

}  // namespace

ExitCode run_client(const Settings& settings, const RunOptions& options) {
    const auto refuse = [&options](const Error& error, ExitCode code) {
        if (options.started) options.started(tl::unexpected(error));
        return code;
    };
    (void)log::set_level(settings.log_level);  // checked with the rest of the configuration
    auto identity = identity_of(settings);
    if (!identity) return refuse(identity.error(), ExitCode::usage);
    auto state = StateDirectory::open(settings.state_directory);
    if (!state) return refuse(state.error(), ExitCode::failed);
    const auto host_id = state->host_id();
    if (!host_id) return refuse(host_id.error(), ExitCode::failed);
    auto netlink = dataplane::Netlink::open();
    if (!netlink) return refuse(netlink.error(), ExitCode::failed);

    Daemon daemon(settings, options, std::move(*state), std::move(*netlink), std::move(*identity),
                  *host_id);
    if (const auto started = daemon.start(); !started) {
        return refuse(started.error(), ExitCode::failed);
    }
    if (options.started) options.started({});
    return daemon.run();
}

}  // namespace dstm::client
