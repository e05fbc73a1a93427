// entries_ is what the plane was told, ends_ is its index by the end of the lease.
#include "tep/tunnel_table.hpp"

#include <algorithm>

#include "common/log/log.hpp"

namespace dstm::tep {
namespace {

std::string describe(const TunnelSpec& spec) {
    return fmt::format("inner={} type={} outer={} generation={} until={}", to_string(spec.inner),
                       to_string(spec.type), to_string(spec.outer_client), spec.generation,
                       to_unix(spec.expires_at));
}

void set_counters(teplink::ListedTunnel& tunnel, const dataplane::TunnelCounters& counters) {
    tunnel.packets_up = counters.packets_up;
    tunnel.bytes_up = counters.bytes_up;
    tunnel.packets_down = counters.packets_down;
    tunnel.bytes_down = counters.bytes_down;
    tunnel.last_seen_up = counters.last_seen_up;
    tunnel.last_seen_down = counters.last_seen_down;
}

// RFC 5572 does not bound a delegated prefix; these are the lengths that sites get (RFC 6177).
constexpr std::uint8_t prefix_length_min = 48;
constexpr std::uint8_t prefix_length_max = 64;

template <class Prefix, class Address>
bool in_one_of(const std::vector<Prefix>& pools, const Address& address) {
    return std::ranges::any_of(pools, [&](const Prefix& pool) { return pool.contains(address); });
}

tl::unexpected<Error> fail_no_pool(const std::string& what) {
    return fail(ErrorCode::refused, "the " + what + " is in no pool of this endpoint");
}

tl::unexpected<Error> fail_own(const std::string& what) {
    return fail(ErrorCode::refused, "the " + what + " is the endpoint's own");
}

template <class Address>
Result<void> check_outside(const TunnelSpec& spec, const Address& own, const Address& client) {
    if (spec.outer_server != IpAddress(own)) {
        return fail(ErrorCode::refused, "outer-server is not an address of this endpoint");
    }
    if (!client.is_usable_unicast() || client == own) {
        return fail(ErrorCode::refused, "outer-client cannot be a client's address");
    }
    return {};
}

}  // namespace

TunnelTable::TunnelTable(TunnelPolicy policy, dataplane::DataPlane& plane, WallTime now)
    : policy_(std::move(policy)), plane_(plane) {
    for (const auto& tunnel : plane_.list()) keep(tunnel.spec, now);
}

Result<Installed> TunnelTable::install(const TunnelSpec& spec, WallTime now) {
    if (auto good = check(spec, now); !good) return tl::unexpected<Error>(good.error());
    const auto at = entries_.find(spec.inner);
    const bool is_new = at == entries_.end();
    if (!is_new) {
        if (at->second.spec == spec) {
            at->second.installs = ++installs_;
            return Installed::unchanged;
        }
        if (at->second.spec.generation > spec.generation) {
            return fail(ErrorCode::conflict, "a newer tunnel is installed");
        }
    } else if (entries_.size() >= policy_.tunnels_max) {
        return fail(ErrorCode::exhausted, "the tunnel table is full");
    }
    if (auto added = plane_.add(spec); !added) return tl::unexpected<Error>(added.error());
    keep(spec, now);
    if (is_new) {
        log_info("TEP_TUNNEL_INSTALLED", "{}", describe(spec));
        return Installed::added;
    }
    log_info("TEP_TUNNEL_REPLACED", "{}", describe(spec));
    return Installed::replaced;
}

Result<Removed> TunnelTable::remove(const IpAddress& inner, Generation up_to) {
    const auto at = entries_.find(inner);
    if (at == entries_.end()) return Removed::absent;
    if (at->second.spec.generation > up_to) return Removed::newer;
    auto removed = plane_.remove(inner, up_to);
    // The plane has less than we thought: what was asked for holds all the same.
    if (!removed && removed.error().code != ErrorCode::not_found) {
        return tl::unexpected<Error>(removed.error());
    }
    log_info("TEP_TUNNEL_REMOVED", "inner={} generation={} why=asked", to_string(inner),
             at->second.spec.generation);
    forget(at);
    return Removed::removed;
}

Result<teplink::SyncAnswer> TunnelTable::sync(SyncProgress& progress, const teplink::Sync& part,
                                              WallTime now) {
    if (part.first) {
        progress = SyncProgress{part.session, part.as_of, installs_, {}, {}};
    } else if (progress.session != part.session || progress.as_of != part.as_of) {
        return fail(ErrorCode::invalid, "no such sync is under way");
    }
    for (const auto& spec : part.tunnels) {
        progress.named.insert(spec.inner);
        const auto installed = install(spec, now);
        if (!installed && installed.error().code == ErrorCode::conflict) {
            ++progress.totals.unchanged;  // installed anew while the list was on its way
        } else if (!installed) {
            log_warning("TEP_SYNC_NOT_INSTALLED", "{} error={}", describe(spec),
                        to_string(installed.error()));
        } else if (*installed == Installed::unchanged) {
            ++progress.totals.unchanged;
        } else {
            ++progress.totals.installed;
        }
    }
    if (!part.last) return teplink::SyncAnswer{};
    progress.totals.removed = remove_unnamed(progress);
    const teplink::SyncAnswer answer{progress.totals};
    progress = {};
    return answer;
}

std::uint64_t TunnelTable::remove_unnamed(const SyncProgress& progress) {
    std::vector<std::pair<IpAddress, Generation>> gone;
    for (const auto& [inner, entry] : entries_) {
        // A create that was given its generation before the sync may install during it.
        const bool is_older =
            entry.spec.generation <= progress.as_of && entry.installs <= progress.began;
        if (is_older && !progress.named.contains(inner)) {
            gone.emplace_back(inner, entry.spec.generation);
        }
    }
    std::uint64_t removed = 0;
    for (const auto& [inner, generation] : gone) {
        const auto outcome = remove(inner, generation);
        if (outcome) {
            ++removed;
        } else {
            log_warning("TEP_SYNC_NOT_REMOVED", "inner={} error={}", to_string(inner),
                        to_string(outcome.error()));
        }
    }
    return removed;
}

std::size_t TunnelTable::sweep(WallTime now, std::size_t limit) {
    std::size_t swept = 0;
    while (swept < limit && !ends_.empty() && ends_.begin()->first + policy_.expired_kept <= now) {
        const auto at = entries_.find(ends_.begin()->second);
        const auto& spec = at->second.spec;
        auto removed = plane_.remove(spec.inner, spec.generation);
        if (!removed && removed.error().code != ErrorCode::not_found) {
            log_warning("TEP_SWEEP_FAILED", "inner={} error={}", to_string(spec.inner),
                        to_string(removed.error()));
            break;  // tried again at the next sweep
        }
        log_info("TEP_TUNNEL_REMOVED", "inner={} generation={} why=expired", to_string(spec.inner),
                 spec.generation);
        forget(at);
        ++swept;
    }
    return swept;
}

TunnelTable::Page TunnelTable::page_from(const std::optional<IpAddress>& from,
                                         std::size_t limit) const {
    Page page;
    auto at = from ? entries_.lower_bound(*from) : entries_.begin();
    for (; at != entries_.end() && page.inner.size() < limit; ++at) {
        page.inner.push_back(at->first);
    }
    if (at != entries_.end()) page.next = at->first;
    return page;
}

IdlePage TunnelTable::find_idle(WallTime now, const std::optional<IpAddress>& from,
                                std::size_t limit) {
    if (policy_.idle_time.count() == 0) return {};
    const auto page = page_from(from, limit);
    const auto counters = plane_.counters(page.inner);
    IdlePage out{{}, page.next};
    for (std::size_t i = 0; i < counters.size(); ++i) {
        Entry& entry = entries_.at(page.inner[i]);
        const WallTime last = std::max(counters[i].last_seen(), entry.installed_at);
        if (last + policy_.idle_time > now || entry.idle_told_for == last) continue;
        entry.idle_told_for = last;
        out.idle.push_back(page.inner[i]);
    }
    return out;
}

teplink::ListAnswer TunnelTable::list(const teplink::List& request) const {
    const auto page = page_from(request.from, request.limit);
    const auto counters = plane_.counters(page.inner);
    teplink::ListAnswer answer;
    answer.next = page.next;
    for (std::size_t i = 0; i < counters.size(); ++i) {
        answer.tunnels.push_back(teplink::ListedTunnel{entries_.at(page.inner[i]).spec});
        set_counters(answer.tunnels.back(), counters[i]);
    }
    return answer;
}

Result<void> TunnelTable::check(const TunnelSpec& spec, WallTime now) const {
    if (spec.generation == 0) return fail(ErrorCode::invalid, "the generation is 0");
    if (std::ranges::find(policy_.types, spec.type) == policy_.types.end()) {
        return fail(ErrorCode::refused, std::string(to_string(spec.type)) + " is not carried here");
    }
    if (auto good = check_addresses(spec); !good) return good;
    if (spec.expires_at <= now) return fail(ErrorCode::refused, "the lease is over");
    return {};
}

Result<void> TunnelTable::check_addresses(const TunnelSpec& spec) const {
    return spec.type == TunnelType::v4v6 ? check_ipv4_inside(spec) : check_ipv6_inside(spec);
}

Result<void> TunnelTable::check_ipv4_inside(const TunnelSpec& spec) const {
    const auto* inner = std::get_if<Ipv4Address>(&spec.inner);
    const auto* outer = std::get_if<Ipv6Address>(&spec.outer_client.address);
    if (inner == nullptr || outer == nullptr || spec.outer_client.port != 0 || spec.inner_prefix) {
        return fail(ErrorCode::invalid, "v4v6 is IPv4 inside and IPv6 outside, nothing else");
    }
    if (!policy_.outside_pools && !in_one_of(policy_.pools, *inner)) {
        return fail_no_pool("inner address");
    }
    if (*inner == policy_.inner_ipv4 || *inner == policy_.outer_ipv4) {
        return fail_own("inner address");
    }
    return check_outside(spec, policy_.outer_ipv6, *outer);
}

Result<void> TunnelTable::check_ipv6_inside(const TunnelSpec& spec) const {
    const auto* inner = std::get_if<Ipv6Address>(&spec.inner);
    const auto* outer = std::get_if<Ipv4Address>(&spec.outer_client.address);
    const bool has_port = spec.outer_client.port != 0;
    if (inner == nullptr || outer == nullptr || has_port != (spec.type == TunnelType::v6udpv4)) {
        return fail(ErrorCode::invalid,
                    "IPv6 inside goes in IPv4, with a port when it goes in UDP, without otherwise");
    }
    if (!in_one_of(policy_.pools_ipv6, *inner)) return fail_no_pool("inner address");
    if (*inner == policy_.inner_ipv6) return fail_own("inner address");
    if (const auto& prefix = spec.inner_prefix) {
        if (prefix->length < prefix_length_min || prefix->length > prefix_length_max) {
            return fail(ErrorCode::invalid, prefix->to_string() + " is not a /48 to /64");
        }
        const bool in_pool = std::ranges::any_of(policy_.pools_ipv6, [&](const Ipv6Prefix& pool) {
            return pool.length <= prefix->length && pool.contains(prefix->address);
        });
        if (!in_pool) return fail_no_pool("prefix");
        if (prefix->contains(*policy_.inner_ipv6)) return fail_own("prefix");
    }
    return check_outside(spec, *policy_.outer_ipv4, *outer);
}

void TunnelTable::keep(const TunnelSpec& spec, WallTime now) {
    const auto [at, is_new] = entries_.try_emplace(spec.inner);
    if (!is_new) ends_.erase({at->second.spec.expires_at, spec.inner});
    at->second = Entry{spec, ++installs_, now, std::nullopt};
    ends_.emplace(spec.expires_at, spec.inner);
}

TunnelTable::Entries::iterator TunnelTable::forget(Entries::iterator at) {
    ends_.erase({at->second.spec.expires_at, at->first});
    return entries_.erase(at);
}

}  // namespace dstm::tep
