// dstm-client: the command line. Everything it does is done elsewhere.
#include <csignal>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "client/background.hpp"
#include "client/config.hpp"
#include "client/control_socket.hpp"
#include "client/daemon.hpp"
#include "client/parts.hpp"
#include "client/report.hpp"

namespace dstm::client {
namespace {

constexpr const char* exit_codes =
    "Exit status: 0 done; 1 failed; 2 wrong command line or configuration; 3 no client runs;\n"
    "4 refused by the server, which will refuse the same again; 5 not up within --timeout.";

struct CommandLine {
    std::string configuration = "/etc/dstm/dstm-client.conf";
    bool checks_only = false;
    bool in_foreground = false;
    bool as_json = false;
    int timeout_s = 60;
};

int to_int(ExitCode code) { return static_cast<int>(code); }

int complain(const std::string& text, ExitCode code) {
    std::fprintf(stderr, "dstm-client: %s\n", text.c_str());
    return to_int(code);
}

std::string request(const char* command) {
    return nlohmann::json{{"command", command}}.dump();
}

// Asks, and turns the client's answer into output and exit code.
int ask(const Settings& settings, const char* command, std::optional<Duration> timeout,
        const std::function<std::string(const nlohmann::json&)>& show) {
    const auto reply = ask_running_client(settings.control_socket, request(command), timeout);
    if (!reply) {
        auto code = ExitCode::failed;
        switch (reply.error().code) {
            case ErrorCode::not_found: code = ExitCode::not_running; break;
            case ErrorCode::timed_out: code = ExitCode::timed_out; break;
            default: break;
        }
        return complain(reply.error().context, code);
    }
    const auto document = nlohmann::json::parse(*reply, nullptr, false);
    if (!document.is_object()) {
        return complain("the client's answer is unreadable", ExitCode::failed);
    }
    if (!document.value("ok", false)) {
        return complain(document.value("error", "failed"),
                        static_cast<ExitCode>(document.value("exit", to_int(ExitCode::failed))));
    }
    const auto text = show(document);
    std::fwrite(text.data(), 1, text.size(), stdout);
    return to_int(ExitCode::success);
}

std::string show_summary(const nlohmann::json& status) {
    return status.value("summary", status.value("state", "")) + '\n';
}

// Why the tunnel is not up yet, as the running client sees it.
std::string last_error(const Settings& settings) {
    const auto reply = ask_running_client(settings.control_socket, request("status"),
                                          std::chrono::seconds(1));
    const auto document = nlohmann::json::parse(reply.value_or("{}"), nullptr, false);
    const auto state = document.is_object() ? document.value("state", "unknown") : "unknown";
    return document.is_object() ? document.value("last-error", "still " + state) : state;
}

int run(const Settings& settings, bool for_a_person, std::optional<Duration> timeout) {
    RunOptions options;
    options.ends_on_refusal = for_a_person;
    options.prints = for_a_person;
    options.timeout = timeout;
    options.started = [](const Result<void>& started) {
        if (!started) complain(started.error().context, ExitCode::failed);
    };
    return to_int(run_client(settings, options));
}

int up(const Settings& settings, const CommandLine& line) {
    const Duration timeout = std::chrono::seconds(line.timeout_s);
    if (line.in_foreground) return run(settings, true, timeout);

    bool is_ours = false;
    const auto running = ask_running_client(settings.control_socket, request("status"), timeout);
    if (!running && running.error().code == ErrorCode::not_found) {
        ::mkdir(settings.state_directory.c_str(), 0700);
        const auto started = start_in_background(
            settings.state_directory + "/client.log", [&settings](const Started& tell) {
                RunOptions options;
                options.ends_on_refusal = true;
                options.waits_for_request = true;
                options.started = tell;
                return run_client(settings, options);
            });
        if (!started) return complain(started.error().context, ExitCode::failed);
        is_ours = true;
    }
    const int code = ask(settings, "up", timeout, show_summary);
    if (code == to_int(ExitCode::timed_out)) {
        complain(last_error(settings), ExitCode::timed_out);
        // A command that failed leaves nothing behind.
        if (is_ours) (void)ask_running_client(settings.control_socket, request("down"), timeout);
    }
    return code;
}

int status(const Settings& settings, bool as_json) {
    return ask(settings, "status", std::chrono::seconds(5),
               [as_json](const nlohmann::json& document) {
                   return as_json ? document.dump() + '\n' : describe_status(document);
               });
}

int refuse(const Mistakes& mistakes) {
    for (const auto& mistake : mistakes) std::fprintf(stderr, "%s\n", mistake.c_str());
    return to_int(ExitCode::usage);
}

int execute(const CLI::App& app, const CommandLine& line) {
    const auto settings = load_settings(line.configuration);
    if (!settings) return refuse(settings.error());
    const auto wants = [&app](const char* name) { return app.got_subcommand(name); };
    // Who only talks to the running client may not be allowed to read them.
    if (line.checks_only || wants("run") || wants("up")) {
        if (const auto unusable = unusable_files(*settings, line.checks_only);
            !unusable.empty()) {
            return refuse(unusable);
        }
    }
    if (line.checks_only) return to_int(ExitCode::success);
    if (wants("run")) return run(*settings, false, std::nullopt);
    if (wants("up")) return up(*settings, line);
    if (wants("down")) {
        return ask(*settings, "down", std::chrono::seconds(15),
                   [](const nlohmann::json&) { return std::string(); });
    }
    if (wants("renew")) {
        return ask(*settings, "renew", std::chrono::seconds(line.timeout_s), show_summary);
    }
    return status(*settings, line.as_json);
}

}  // namespace
}  // namespace dstm::client

int main(int argc, char** argv) {
    using namespace dstm::client;
    std::signal(SIGPIPE, SIG_IGN);
    CommandLine line;
    CLI::App app{"Temporary IPv4 on an IPv6-only host, from a DSTM server."};
    app.footer(exit_codes);
    app.set_version_flag("--version", DSTM_VERSION, "Say which version this is");
    app.require_subcommand(1);

    const auto add = [&app, &line](const char* name, const char* what) {
        auto* command = app.add_subcommand(name, what);
        command->add_option("-c,--config", line.configuration, "Configuration file")
            ->capture_default_str();
        command->add_flag("--check-config", line.checks_only,
                          "Only say whether the configuration is good");
        return command;
    };
    add("run", "Run in the foreground and keep the tunnel up (for systemd)");
    auto* up_command = add("up", "Bring the tunnel up, in the background; prints the address");
    up_command->add_flag("--foreground", line.in_foreground, "Stay in the foreground");
    add("down", "Give the address back and end the client");
    auto* renew_command = add("renew", "Renew the lease now");
    auto* status_command = add("status", "Say what is up");
    status_command->add_flag("--json", line.as_json, "As one JSON object");
    for (auto* command : {up_command, renew_command}) {
        command->add_option("--timeout", line.timeout_s, "Seconds to wait for the tunnel")
            ->check(CLI::Range(1, 86400))
            ->capture_default_str();
    }
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        const int code = app.exit(error);
        return code == 0 ? 0 : static_cast<int>(ExitCode::usage);
    }
    end_process(static_cast<ExitCode>(execute(app, line)));
}
