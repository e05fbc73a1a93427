// dstm-server: reads the command line and the configuration, then runs the event loop until a
// signal says stop.
#include <sys/resource.h>

#include <csignal>
#include <cstdio>

#include <CLI/CLI.hpp>

#include "common/io/asio.hpp"
#include "common/io/real_clock.hpp"
#include "common/io/sd_notify.hpp"
#include "common/io/signals.hpp"
#include "common/log/log.hpp"
#include "dstm-server/server.hpp"

namespace {

using namespace dstm;
using namespace dstm::server;

constexpr int exit_good = 0;
constexpr int exit_failed = 1;
constexpr int exit_usage = 2;

// Ten thousand clients are ten thousand descriptors.
void raise_descriptor_limit() {
    ::rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        log_warning("SERVER_DESCRIPTOR_LIMIT", "cannot be raised to {}", limit.rlim_max);
    }
}

void reload(Server& server, const std::string& path) {
    LoadedSettings loaded = load_settings(path);
    for (const std::string& mistake : loaded.mistakes) {
        log_error("SERVER_RELOAD_FAILED", "{}", mistake);
    }
    if (loaded.mistakes.empty()) server.reload(std::move(loaded.settings));
}

int serve(Settings settings, const std::string& path) {
    raise_descriptor_limit();
    std::signal(SIGPIPE, SIG_IGN);
    const std::string name = settings.name;
    const RealClock clock;
    asio::io_context events(1);
    Server server(std::move(settings), events, clock);
    if (auto started = server.start(); !started) {
        log_error("SERVER_CANNOT_START", "{}", to_string(started.error()));
        return exit_failed;
    }
    bool stopping = false;
    io::Signals signals(events, {SIGTERM, SIGINT, SIGHUP}, [&](int number) {
        if (number == SIGHUP) {
            if (!stopping) reload(server, path);
            return;
        }
        // A second signal does not wait for anybody.
        if (std::exchange(stopping, true)) return events.stop();
        log_info("SERVER_STOPPING", "tunnels stay up");
        io::sd_notify("STOPPING=1");
        server.stop([&] { events.stop(); });
    });
    log_info("SERVER_STARTED", "name={} version={}", name, DSTM_VERSION);
    io::sd_notify("READY=1");
    events.run();
    log_info("SERVER_STOPPED", "name={}", name);
    return exit_good;
}

int run(int argc, char** argv) {
    std::string path = "/etc/dstm/dstm-server.conf";
    bool check_only = false;
    CLI::App app("dstm-server: TSP broker (RFC 5572) and DSTM server.\n"
                 "Signals: SIGTERM and SIGINT stop it (tunnels stay), SIGHUP reads limits,\n"
                 "lifetimes and the log level again and opens the audit log anew.\n"
                 "Exit codes: 0 ended in order, 1 failed while running, 2 bad usage or "
                 "configuration.");
    app.add_option("-c,--config", path, "configuration file")->capture_default_str();
    app.add_flag("--check-config", check_only, "report every mistake in the file and exit");
    app.set_version_flag("--version", DSTM_VERSION);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? exit_good : exit_usage;
    }
    LoadedSettings loaded = load_settings(path);
    for (const std::string& mistake : loaded.mistakes) {
        std::fprintf(stderr, "%s\n", mistake.c_str());
    }
    if (!loaded.mistakes.empty()) return exit_usage;
    if (check_only) {
        std::printf("%s: no mistakes\n", path.c_str());
        return exit_good;
    }
    if (!log::set_level(loaded.settings.log_level)) return exit_usage;
    return serve(std::move(loaded.settings), path);
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(argc, argv);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "dstm-server: %s\n", error.what());
        return exit_failed;
    }
}
