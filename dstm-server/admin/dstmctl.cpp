// dstmctl: what is up, who had this address, keys for a first installation. Asks the daemons over
// their admin sockets and reads the audit log; it changes nothing.
#include <cstdio>
#include <ctime>
#include <fstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "dstm-server/admin/line_client.hpp"
#include "dstm-server/admin/pki.hpp"
#include "dstm-server/admin/rfc3339.hpp"
#include "dstm-server/admin/table.hpp"
#include "dstm-server/admin/who_had.hpp"

namespace {

using namespace dstm;
using namespace dstm::server;
using Json = nlohmann::ordered_json;
using Rows = std::vector<std::vector<std::string>>;

constexpr int exit_good = 0;
constexpr int exit_failed = 1;
constexpr int exit_usage = 2;

struct Options {
    std::string server_socket = "/run/dstm/server.sock";
    std::string tep_socket = "/run/dstm-tep/admin.sock";
    bool json = false;
    std::string address;
    std::string at;
    std::vector<std::string> audit_logs = {"/var/log/dstm/audit.jsonl"};
};

int complain(const std::string& what, int code = exit_failed) {
    std::fprintf(stderr, "dstmctl: %s\n", what.c_str());
    return code;
}

void print(const std::string& text) { std::fputs(text.c_str(), stdout); }

// A value of an answer as it stands in a table; "-" for what is absent or empty.
std::string cell(const Json& object, const char* key) {
    const auto found = object.find(key);
    if (found == object.end() || found->is_null()) return "-";
    if (found->is_boolean()) return found->get<bool>() ? "yes" : "no";
    if (found->is_array()) {
        std::string joined;
        for (const Json& one : *found) {
            joined += (joined.empty() ? "" : ",") + (one.is_string() ? one.get<std::string>()
                                                                     : one.dump());
        }
        return joined.empty() ? "-" : joined;
    }
    const std::string text = found->is_string() ? found->get<std::string>() : found->dump();
    return text.empty() ? "-" : text;
}

// The arguments of the answer, or why there are none.
Result<Json> command(const std::string& socket, const std::string& name,
                     const Json& arguments = Json::object()) {
    auto line = ask(socket, Json{{"command", name}, {"arguments", arguments}}.dump());
    if (!line) return tl::unexpected(line.error());
    const Json answer = Json::parse(*line, nullptr, false);
    if (!answer.is_object()) return fail(ErrorCode::invalid, socket + ": the answer is not JSON");
    if (!answer.contains("result") || answer["result"] != 0) {
        return fail(ErrorCode::refused, socket + ": " + cell(answer, "text"));
    }
    const auto found = answer.find("arguments");
    return found == answer.end() ? Json::object() : *found;
}

// Gathers all pages of a list.
Result<Json> list(const std::string& socket, const std::string& name, const char* key) {
    Json all = Json::array();
    Json arguments = Json::object();
    while (true) {
        auto page = command(socket, name, arguments);
        if (!page) return page;
        const auto found = page->find(key);
        if (found == page->end() || !found->is_array()) {
            return fail(ErrorCode::invalid, socket + ": the answer has no " + key);
        }
        for (Json& entry : *found) all.push_back(std::move(entry));
        if (!page->contains("next") || found->empty()) return all;
        arguments["from"] = (*page)["next"];
    }
}

int show_list(const Options& options, const Result<Json>& entries, const Rows::value_type& heading,
              const std::vector<const char*>& keys) {
    if (!entries) return complain(entries.error().context);
    if (options.json) {
        print(entries->dump(2) + "\n");
        return exit_good;
    }
    Rows rows = {heading};
    for (const Json& entry : *entries) {
        Rows::value_type row;
        for (const char* key : keys) row.push_back(cell(entry, key));
        rows.push_back(std::move(row));
    }
    print(to_table(rows));
    return exit_good;
}

int show_status(const Options& options) {
    const auto status = command(options.server_socket, "status");
    if (!status) return complain(status.error().context);
    if (options.json) {
        print(status->dump(2) + "\n");
        return exit_good;
    }
    Rows rows;
    for (const auto& entry : status->items()) {
        if (!entry.value().is_object()) {
            rows.push_back({entry.key(), cell(*status, entry.key().c_str())});
            continue;
        }
        for (const auto& part : entry.value().items()) {
            rows.push_back({entry.key() + " " + part.key(), part.value().dump()});
        }
    }
    print(to_table(rows));
    return exit_good;
}

int show_bindings(const Options& options) {
    return show_list(options, list(options.server_socket, "bindings", "bindings"),
                     {"ADDRESS", "PREFIX", "USER", "HOST", "TYPE", "OUTER", "PORT", "ENDPOINT",
                      "EXPIRES", "ACCEPTED"},
                     {"address", "prefix", "user", "host", "type", "outer", "outer-port",
                      "endpoint", "expires", "accepted"});
}

int show_endpoints(const Options& options) {
    return show_list(options, list(options.server_socket, "endpoints", "endpoints"),
                     {"NAME", "GROUP", "CONNECTED", "IN-SYNC", "BINDINGS", "TYPES", "POOLS",
                      "OUTER-IPV6", "INNER-IPV4", "POOLS-IPV6", "OUTER-IPV4", "INNER-IPV6",
                      "DATA-PLANE"},
                     {"name", "group", "connected", "in-sync", "bindings", "types", "pools",
                      "outer-ipv6", "inner-ipv4", "pools-ipv6", "outer-ipv4", "inner-ipv6",
                      "data-plane"});
}

int show_tep_tunnels(const Options& options) {
    auto tunnels = list(options.tep_socket, "tunnels", "tunnels");
    // For the table, what is inside "spec" stands beside the counters.
    if (tunnels && !options.json) {
        for (Json& tunnel : *tunnels) {
            const auto spec = tunnel.find("spec");
            if (spec != tunnel.end() && spec->is_object()) tunnel.update(Json(*spec));
            for (const char* key : {"last-seen-up", "last-seen-down"}) {
                const auto at = tunnel.find(key);
                if (at == tunnel.end() || !at->is_number_integer()) continue;
                const auto seconds = at->get<std::int64_t>();
                *at = seconds == 0 ? "-" : to_rfc3339(from_unix(seconds));
            }
        }
    }
    return show_list(options, tunnels,
                     {"INNER", "TYPE", "OUTER-CLIENT", "OUTER-SERVER", "PACKETS-UP", "BYTES-UP",
                      "PACKETS-DOWN", "BYTES-DOWN", "LAST-SEEN-UP", "LAST-SEEN-DOWN"},
                     {"inner", "type", "outer-client", "outer-server", "packets-up", "bytes-up",
                      "packets-down", "bytes-down", "last-seen-up", "last-seen-down"});
}

Json to_json(const Holding& holding, WallTime time) {
    const AuditRecord& then = holding.as_of(time);
    Json json = {{"address", to_string(then.inner)}};
    if (then.prefix) json["prefix"] = then.prefix->to_string();
    json.update({{"user", then.user},
                 {"host", then.host},
                 {"from", to_rfc3339(holding.start.time)},
                 {"until", to_rfc3339(holding.until())},
                 {"end", holding.end ? holding.end->reason : "not recorded yet"},
                 {"type", std::string(to_string(then.type))},
                 {"outer", to_string(then.outer_client.address)}});
    // RFC 6888 s4: behind a NAT the port is part of who it was.
    if (then.outer_client.port != 0) json["outer-port"] = then.outer_client.port;
    json["endpoint"] = then.endpoint;
    return json;
}

void print_holding(const Options& options, const Holding& holding, WallTime time) {
    const Json json = to_json(holding, time);
    if (options.json) return print(json.dump(2) + "\n");
    Rows rows;
    for (const auto& entry : json.items()) {
        rows.push_back({entry.key(), cell(json, entry.key().c_str())});
    }
    print(to_table(rows));
}

int who_had(const Options& options) {
    const auto address = parse_ip_address(options.address);
    if (!address) return complain(options.address + " is not an IP address", exit_usage);
    WallTime time = from_unix(std::time(nullptr));
    if (!options.at.empty()) {
        const auto given = parse_rfc3339(options.at);
        if (!given) {
            return complain(options.at + " is not a time like 2026-11-03T14:00", exit_usage);
        }
        time = *given;
    }
    WhoHad log(*address);
    for (const std::string& path : options.audit_logs) {
        std::ifstream file(path);
        if (!file) return complain("cannot read " + path);
        for (std::string line; std::getline(file, line);) log.read_line(line);
    }
    if (log.damaged_lines() != 0) {
        complain(std::to_string(log.damaged_lines()) + " damaged lines were passed over");
    }
    if (const Holding* holding = log.at(time)) {
        print_holding(options, *holding, time);
        return exit_good;
    }
    complain("nobody had " + to_string(*address) + " at " + to_rfc3339(time));
    if (const Holding* holding = log.before(time)) {
        std::fprintf(stderr, "the last before that:\n");
        print_holding(options, *holding, holding->until());
    }
    return exit_failed;
}

int run(int argc, char** argv) {
    Options options;
    CLI::App app("Shows what the DSTM daemons do and answers who had which address.\n"
                 "Exit codes: 0 done, 1 failed or nobody had it, 2 bad usage.");
    app.require_subcommand(1);
    app.set_version_flag("--version", DSTM_VERSION);
    const auto add = [&](const char* name, const char* what, std::string& socket) {
        auto* const sub = app.add_subcommand(name, what);
        sub->add_option("--socket", socket, "the daemon's admin socket")->capture_default_str();
        sub->add_flag("--json", options.json, "print JSON");
        return sub;
    };
    auto* const status = add("status", "the server: sessions, Kea", options.server_socket);
    auto* const bindings = add("bindings", "who has which address now", options.server_socket);
    auto* const endpoints = add("endpoints", "the tunnel endpoints", options.server_socket);
    auto* const tunnels = add("tep-tunnels", "tunnels of a dstm-tep on this host, with counters",
                              options.tep_socket);
    auto* const who = app.add_subcommand("who-had", "who had this address at that time");
    who->add_option("address", options.address, "the leased address, or one in a leased prefix")
        ->required();
    who->add_option("--at", options.at,
                    "a time (RFC 3339, UTC unless it says otherwise), default: now");
    who->add_option("--audit-log", options.audit_logs, "files to read, oldest first")
        ->capture_default_str();
    who->add_flag("--json", options.json, "print JSON");
    auto* const pki = app.add_subcommand("pki", "a private CA for a first installation");
    pki->prefix_command();
    pki->set_help_flag();
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? exit_good : exit_usage;
    }
    if (status->parsed()) return show_status(options);
    if (bindings->parsed()) return show_bindings(options);
    if (endpoints->parsed()) return show_endpoints(options);
    if (tunnels->parsed()) return show_tep_tunnels(options);
    if (who->parsed()) return who_had(options);
    if (pki->parsed()) return run_pki(pki->remaining());
    return exit_usage;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(argc, argv);
    } catch (const std::exception& error) {
        return complain(error.what());
    }
}
