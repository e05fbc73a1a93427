// The endpoint's table of tunnels: which may stand, which is newer, which should be there at all.
//
// A machine over DataPlane: orders and the time go in, the plane is changed and an outcome comes
// out. Knows no link, socket or clock. Who carries packets and drops expired ones is the plane;
// the table decides what the plane is told (docs/wire/endpoint-link.md, design: a late "remove" can
// never take down a newer "install").
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "common/dataplane/data_plane.hpp"
#include "common/teplink/message.hpp"

namespace dstm::tep {

// What this endpoint carries: bounds on what a server may install.
struct TunnelPolicy {
    std::vector<TunnelType> types;
    Ipv6Address outer_ipv6;
    Ipv4Address inner_ipv4;
    std::vector<Ipv4Prefix> pools;
    bool outside_pools = false;  // IPv4 inside may be in none of them
    std::optional<Ipv4Address> outer_ipv4;  // these three with the v6 types
    std::optional<Ipv6Address> inner_ipv6;
    std::vector<Ipv6Prefix> pools_ipv6;
    std::size_t tunnels_max = 1'000'000;
    // An expired tunnel stays listed for so long, so that its last counters can be read.
    std::chrono::seconds expired_kept = std::chrono::seconds(60);
    std::chrono::seconds idle_time = std::chrono::seconds(0);  // 0: idleness is not looked for
};

enum class Installed { added, replaced, unchanged };
enum class Removed { removed, absent, newer };

// The parts of one sync so far. Each link has its own: servers that sync at once do not mix.
struct SyncProgress {
    std::optional<std::uint64_t> session;
    Generation as_of = 0;
    std::uint64_t began = 0;  // what was installed after this stays, though no part names it
    std::set<IpAddress> named;
    teplink::SyncTotals totals;
};

struct IdlePage {
    std::vector<IpAddress> idle;
    std::optional<IpAddress> next;  // from where to go on; none: that was all
};

class TunnelTable {
public:
    // Takes over what the plane holds already. `plane` must outlive the table.
    TunnelTable(TunnelPolicy policy, dataplane::DataPlane& plane, WallTime now);

    // invalid: the specification cannot be meant. refused: not for this endpoint, or over already.
    // conflict: something newer is installed. exhausted: the table is full.
    // The same generation again is no error: it installs what it says.
    [[nodiscard]] Result<Installed> install(const TunnelSpec& spec, WallTime now);

    // Nothing there and something newer are outcomes, not errors.
    [[nodiscard]] Result<Removed> remove(const IpAddress& inner, Generation up_to);

    // One part. Totals after the last one. invalid: no such session is under way.
    // Tunnels that stay are not touched; one that cannot be installed is logged and not counted.
    [[nodiscard]] Result<teplink::SyncAnswer> sync(SyncProgress& progress,
                                                   const teplink::Sync& part, WallTime now);

    // Takes what ended `expired_kept` ago out of the plane, at most `limit` at once. How many.
    std::size_t sweep(WallTime now, std::size_t limit);

    // Tunnels without a packet up or down for the idle time, each told once until one passes again.
    // Looks at `limit` of them at most, from this address on.
    [[nodiscard]] IdlePage find_idle(WallTime now, const std::optional<IpAddress>& from,
                                     std::size_t limit);

    // In the order of the inner addresses, IPv4 first.
    [[nodiscard]] teplink::ListAnswer list(const teplink::List& request) const;

    [[nodiscard]] std::size_t size() const { return entries_.size(); }

private:
    struct Entry {
        TunnelSpec spec;
        std::uint64_t installs = 0;             // how many the table had seen with this one
        WallTime installed_at;                  // idleness counts from here while nothing has come
        std::optional<WallTime> idle_told_for;  // the last packet's time when we told
    };
    using Entries = std::map<IpAddress, Entry>;
    struct Page {
        std::vector<IpAddress> inner;
        std::optional<IpAddress> next;
    };

    [[nodiscard]] Result<void> check(const TunnelSpec& spec, WallTime now) const;
    [[nodiscard]] Result<void> check_addresses(const TunnelSpec& spec) const;
    [[nodiscard]] Result<void> check_ipv4_inside(const TunnelSpec& spec) const;
    [[nodiscard]] Result<void> check_ipv6_inside(const TunnelSpec& spec) const;
    void keep(const TunnelSpec& spec, WallTime now);
    Entries::iterator forget(Entries::iterator at);
    [[nodiscard]] Page page_from(const std::optional<IpAddress>& from, std::size_t limit) const;
    std::uint64_t remove_unnamed(const SyncProgress& progress);

    TunnelPolicy policy_;
    dataplane::DataPlane& plane_;
    Entries entries_;
    std::uint64_t installs_ = 0;
    std::set<std::pair<WallTime, IpAddress>> ends_;
};

}  // namespace dstm::tep
