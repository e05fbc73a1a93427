// Tunnel endpoints in memory. See memory_endpoints.hpp.
#include "support/memory_endpoints.hpp"

#include <set>
#include <utility>

namespace dstm::support {

using server::SyncOutcome;

Result<void> MemoryEndpoint::install(const TunnelSpec& spec) {
    const auto at = tunnels.find(spec.inner);
    if (at != tunnels.end() && at->second.generation > spec.generation) {
        return fail(ErrorCode::conflict, "a newer one is installed");
    }
    tunnels.insert_or_assign(spec.inner, spec);
    return {};
}

void MemoryEndpoint::remove(const IpAddress& inner, Generation up_to) {
    const auto at = tunnels.find(inner);
    if (at != tunnels.end() && at->second.generation <= up_to) tunnels.erase(at);
}

SyncOutcome MemoryEndpoint::sync(const std::vector<TunnelSpec>& wanted, Generation as_of) {
    SyncOutcome outcome;
    std::set<IpAddress> named;
    for (const TunnelSpec& spec : wanted) {
        named.insert(spec.inner);
        const auto at = tunnels.find(spec.inner);
        const bool stays =
            at != tunnels.end() && (at->second == spec || at->second.generation > spec.generation);
        if (stays) {
            ++outcome.unchanged;
        } else {
            tunnels.insert_or_assign(spec.inner, spec);
            ++outcome.installed;
        }
    }
    outcome.removed = std::erase_if(tunnels, [&](const auto& tunnel) {
        return !named.contains(tunnel.first) && tunnel.second.generation <= as_of;
    });
    return outcome;
}

void MemoryEndpoint::drop_expired(WallTime now) {
    std::erase_if(tunnels, [&](const auto& tunnel) { return tunnel.second.expires_at <= now; });
}

// --- one server's links --------------------------------------------------------------------------

void MemoryEndpointLinks::connect(MemoryEndpoint& endpoint) {
    const std::string& name = endpoint.info.name;
    if (links_.contains(name)) return;
    links_.emplace(name, Link{&endpoint, std::make_unique<Wire>(scheduler_, fates_)});
    endpoint.info.tunnels = endpoint.tunnels.size();
    if (listener_ != nullptr) listener_->on_endpoint_up(endpoint.info);
}

void MemoryEndpointLinks::disconnect(const std::string& name) {
    auto link = links_.extract(name);
    if (link.empty()) return;
    link.mapped().wire->drop();
    broken_.push_back(std::move(link.mapped().wire));
    if (listener_ != nullptr) listener_->on_endpoint_gone(name);
}

void MemoryEndpointLinks::report_idle(const std::string& name,
                                      const std::vector<IpAddress>& inner) {
    if (listener_ != nullptr && is_connected(name)) listener_->on_tunnels_idle(name, inner);
}

void MemoryEndpointLinks::let_requests_survive() {
    for (auto& [name, link] : links_) link.wire->let_effects_survive();
}

template <class T>
void MemoryEndpointLinks::submit(const std::string& name, std::string_view operation,
                                 std::function<Result<T>(MemoryEndpoint&)> effect,
                                 server::Done<T> done) {
    const auto at = links_.find(name);
    if (at != links_.end()) {
        at->second.wire->submit<T>(
            operation,
            [endpoint = at->second.endpoint, effect = std::move(effect)] {
                return effect(*endpoint);
            },
            std::move(done));
        return;
    }
    scheduler_.post(Duration(0), [done, alive = std::weak_ptr<bool>(alive_)] {
        if (!alive.expired()) done(fail(ErrorCode::unavailable, "not connected"));
    });
}

void MemoryEndpointLinks::install(const std::string& endpoint, const TunnelSpec& spec,
                                  server::Done<void> done) {
    submit<void>(
        endpoint, "install", [spec](MemoryEndpoint& where) { return where.install(spec); },
        std::move(done));
}

void MemoryEndpointLinks::remove(const std::string& endpoint, const IpAddress& inner,
                                 Generation up_to, server::Done<void> done) {
    submit<void>(
        endpoint, "remove",
        [inner, up_to](MemoryEndpoint& where) -> Result<void> {
            where.remove(inner, up_to);
            return {};
        },
        std::move(done));
}

void MemoryEndpointLinks::sync(const std::string& endpoint, std::vector<TunnelSpec> tunnels,
                               Generation as_of, server::Done<SyncOutcome> done) {
    submit<SyncOutcome>(
        endpoint, "sync",
        [tunnels, as_of](MemoryEndpoint& where) -> Result<SyncOutcome> {
            return where.sync(tunnels, as_of);
        },
        std::move(done));
}

}  // namespace dstm::support
