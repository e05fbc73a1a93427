// One function for each part.
#include "client/parts.hpp"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <optional>
#include <random>
#include <utility>

#include "client/auth/password.hpp"

namespace dstm::client {

namespace {

std::optional<Error> why_unusable(const NamedFile& file) {
    if (file.is_password) {
        const auto password = find_password(file.path);
        return password ? std::nullopt : std::optional(password.error());
    }
    if (std::ifstream(file.path).is_open()) return std::nullopt;
    return error_from_errno(errno, file.path);
}

}  // namespace

Mistakes unusable_files(const Settings& settings, bool may_be_missing) {
    Mistakes mistakes;
    for (const auto& file : settings.files) {
        const auto why = why_unusable(file);
        if (!why || (may_be_missing && why->code == ErrorCode::not_found)) continue;
        mistakes.push_back(file.place + ": " + why->context);
    }
    return mistakes;
}

Result<Identity> identity_of(const Settings& settings) {
    Identity identity{settings.user, {}};
    const bool is_asked =
        std::any_of(settings.mechanisms.begin(), settings.mechanisms.end(), needs_password);
    if (!is_asked) return identity;
    auto password = find_password(settings.password_file);
    if (!password) {
        return fail(password.error().code,
                    settings.user_place + ": " + password.error().context);
    }
    identity.password = std::move(*password);
    return identity;
}

EngineConfig engine_config(const Settings& settings, const RunOptions& options,
                           const std::string& host_id) {
    EngineConfig config;
    if (!settings.server.empty()) config.servers = {{settings.server, settings.port}};
    config.wishes = {settings.tunnel_type, host_id, settings.keepalive_s, {}};
    if (settings.router) {
        config.wishes.prefix =
            PrefixWish{settings.router->prefix_length, settings.router->dns_servers};
    }
    config.on_demand = settings.idle_timeout.has_value();
    config.ends_on_refusal = options.ends_on_refusal;
    config.seed = std::random_device{}();
    return config;
}

TunnelHostConfig host_config(const Settings& settings) {
    TunnelHostConfig config{settings.device, settings.routes, settings.route_metric};
    if (settings.router) {
        config.inside = InsideConfig{settings.router->inside_interface, settings.router->script};
    }
    return config;
}

std::vector<std::string> services_of(const Settings& settings) {
    if (may_share_port(settings.tunnel_type)) return {"_tsp._udp"};
    switch (settings.transport) {
        case Transport::automatic: return {"_tsp._tcp", "_tsp._udp"};
        case Transport::udp: return {"_tsp._udp", "_tsp._tcp"};
        case Transport::tcp: return {"_tsp._tcp"};
    }
    return {};
}

SignallingConfig signalling_config(const Settings& settings, Identity identity) {
    SignallingConfig config;
    config.type = settings.tunnel_type;
    config.transport = settings.transport;
    config.tls = settings.tls;
    config.identity = std::move(identity);
    config.mechanisms = settings.mechanisms;
    return config;
}

}  // namespace dstm::client
