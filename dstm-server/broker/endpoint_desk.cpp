// The way to the endpoints. See endpoint_desk.hpp.
#include "dstm-server/broker/endpoint_desk.hpp"

#include <algorithm>
#include <utility>

#include "common/log/log.hpp"

namespace dstm::server {
namespace {

bool holds_v4(const EndpointInfo& info, const IpAddress& address) {
    return std::any_of(info.pools.begin(), info.pools.end(), [&](const Ipv4Prefix& pool) {
        return pool.contains(std::get<Ipv4Address>(address));
    });
}

bool holds_v6(const EndpointInfo& info, const Ipv6Prefix& wanted) {
    return std::any_of(info.pools_ipv6.begin(), info.pools_ipv6.end(),
                       [&](const Ipv6Prefix& pool) {
                           return pool.length <= wanted.length && pool.contains(wanted.address);
                       });
}

bool can_carry(const EndpointInfo& info, const EndpointWish& wish) {
    if (!wish.only.empty() && info.name != wish.only) return false;
    if (!outer_address(info, wish.type)) return false;
    if (family_of(wish.type) == Family::v4) return !wish.address || holds_v4(info, *wish.address);
    if (wish.prefix && !holds_v6(info, *wish.prefix)) return false;
    return !wish.address || holds_v6(info, {std::get<Ipv6Address>(*wish.address), 128});
}

}  // namespace

// RFC 5572 s4.7.3: the answer names the endpoint's inner address too, so that must be there.
std::optional<IpAddress> outer_address(const EndpointInfo& info, TunnelType type) {
    const auto& types = info.types;
    if (std::find(types.begin(), types.end(), type) == types.end()) return std::nullopt;
    if (family_of(type) == Family::v4) {
        if (!info.outer_ipv6 || info.pools.empty()) return std::nullopt;
        return *info.outer_ipv6;
    }
    if (!info.outer_ipv4 || !info.inner_ipv6 || info.pools_ipv6.empty()) return std::nullopt;
    return *info.outer_ipv4;
}

EndpointDesk::EndpointDesk(const BrokerConfig& config, EndpointLinks& links, const Clock& clock,
                           const Generations& generations, Desired desired)
    : config_(config),
      links_(links),
      clock_(clock),
      generations_(generations),
      desired_(std::move(desired)) {}

const EndpointInfo* EndpointDesk::choose(const EndpointWish& wish, const Load& load) const {
    const EndpointInfo* best = nullptr;
    std::size_t best_load = 0;
    for (const auto& [name, endpoint] : endpoints_) {
        if (!endpoint.connected || wish.failed.contains(name)) continue;
        if (!can_carry(endpoint.info, wish)) continue;
        if (name == wish.preferred) return &endpoint.info;
        const std::size_t its_load = load(name);
        if (best == nullptr || its_load < best_load) {
            best = &endpoint.info;
            best_load = its_load;
        }
    }
    return best;
}

std::vector<const EndpointInfo*> EndpointDesk::carriers(TunnelType type, const Load& load) const {
    std::vector<const EndpointInfo*> found;
    for (const auto& [name, endpoint] : endpoints_) {
        if (endpoint.connected && outer_address(endpoint.info, type)) {
            found.push_back(&endpoint.info);
        }
    }
    std::stable_sort(found.begin(), found.end(), [&](const auto* left, const auto* right) {
        return load(left->name) < load(right->name);
    });
    return found;
}

const EndpointInfo* EndpointDesk::find(const std::string& name) const {
    const auto at = endpoints_.find(name);
    return at != endpoints_.end() && at->second.connected ? &at->second.info : nullptr;
}

// Wraps a completion: a failure leaves the endpoint in a state that only a sync makes sure.
Done<void> EndpointDesk::watch(const std::string& name, Done<void> done) {
    return [this, name, alive = std::weak_ptr<bool>(alive_),
            done = std::move(done)](Result<void> result) {
        if (alive.expired()) return;
        const bool failed = !result;
        if (failed) {
            log_warning("BROKER_ENDPOINT_FAILED", "endpoint={} error={}", log::quoted(name),
                        log::quoted(to_string(result.error())));
        }
        // First the owner decides what should be there, then it is synced.
        done(std::move(result));
        if (failed && !alive.expired()) {
            mark(name);
            sync_marked();
        }
    };
}

void EndpointDesk::install(const std::string& name, const TunnelSpec& spec, Done<void> done) {
    links_.install(name, spec, watch(name, std::move(done)));
}

void EndpointDesk::remove(const std::string& name, const IpAddress& inner, Generation up_to,
                          Done<void> done) {
    // A sync under way may still name this tunnel in a part that is sent after the removal.
    const auto at = endpoints_.find(name);
    if (at != endpoints_.end() && at->second.syncing) at->second.marked = true;
    links_.remove(name, inner, up_to, watch(name, std::move(done)));
}

void EndpointDesk::mark(const std::string& name) {
    const auto at = endpoints_.find(name);
    if (at != endpoints_.end()) at->second.marked = true;
}

void EndpointDesk::mark_all() {
    for (auto& [name, endpoint] : endpoints_) endpoint.marked = true;
}

void EndpointDesk::allow_syncs(bool knows_all) {
    // What we know now for the first time is told at once.
    if (!may_sync_ || (knows_all && !knows_all_)) {
        for (auto& [name, endpoint] : endpoints_) endpoint.sync_not_before = clock_.now();
    }
    may_sync_ = true;
    knows_all_ = knows_all;
}

void EndpointDesk::sync_marked() {
    if (!may_sync_) return;
    for (auto& [name, endpoint] : endpoints_) {
        if (!endpoint.connected || !endpoint.marked || endpoint.syncing) continue;
        if (clock_.now() < endpoint.sync_not_before) continue;
        sync(name, endpoint);
    }
}

void EndpointDesk::sync(const std::string& name, Endpoint& endpoint) {
    endpoint.marked = false;
    endpoint.syncing = true;
    endpoint.sync_not_before = clock_.now() + config_.repair_interval;
    const Generation as_of = knows_all_ ? generations_.last() : 0;
    links_.sync(name, desired_(endpoint.info), as_of,
                [this, name, connection = endpoint.connection,
                 alive = std::weak_ptr<bool>(alive_)](const Result<SyncOutcome>& outcome) {
                    if (!alive.expired()) on_synced(name, connection, outcome);
                });
}

void EndpointDesk::on_synced(const std::string& name, std::uint64_t connection,
                             const Result<SyncOutcome>& outcome) {
    Endpoint& endpoint = endpoints_.at(name);
    if (endpoint.connection != connection) return;  // of a link that is gone
    endpoint.syncing = false;
    if (!outcome) {
        log_warning("BROKER_SYNC_FAILED", "endpoint={} error={}", log::quoted(name),
                    log::quoted(to_string(outcome.error())));
        endpoint.marked = true;  // tick tries again
        return;
    }
    log_info("BROKER_ENDPOINT_SYNCED", "endpoint={} installed={} unchanged={} removed={}",
             log::quoted(name), outcome->installed, outcome->unchanged, outcome->removed);
    sync_marked();
}

void EndpointDesk::up(const EndpointInfo& info) {
    Endpoint& endpoint = endpoints_[info.name];
    endpoint.info = info;
    endpoint.connected = true;
    ++endpoint.connection;
    endpoint.marked = true;
    endpoint.syncing = false;
    endpoint.sync_not_before = clock_.now();
    sync_marked();
}

void EndpointDesk::gone(const std::string& name) {
    const auto at = endpoints_.find(name);
    if (at == endpoints_.end()) return;
    at->second.connected = false;
    ++at->second.connection;
    at->second.syncing = false;
}

std::vector<EndpointDesk::View> EndpointDesk::views() const {
    std::vector<View> views;
    for (const auto& [name, endpoint] : endpoints_) {
        const bool in_sync =
            endpoint.connected && may_sync_ && !endpoint.marked && !endpoint.syncing;
        views.push_back(View{endpoint.info, endpoint.connected, in_sync});
    }
    return views;
}

}  // namespace dstm::server
