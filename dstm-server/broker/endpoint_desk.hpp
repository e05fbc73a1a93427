// The way to the endpoints: who is connected, which one to choose, and the syncs that make an
// endpoint hold what it should after a connect or a failure. It knows no lease store and no
// session.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/base/clock.hpp"
#include "dstm-server/broker/config.hpp"
#include "dstm-server/broker/generations.hpp"
#include "dstm-server/ports.hpp"

namespace dstm::server {

struct EndpointWish {
    TunnelType type = TunnelType::v4v6;
    std::string only;                   // no other will do; empty: any
    std::string preferred;              // where the tunnel is now; taken if it can be
    std::optional<IpAddress> address;   // must lie in the endpoint's pools
    std::optional<Ipv6Prefix> prefix;   // so must this
    std::set<std::string> failed;       // have been tried
};

// The endpoint's own outer address for such a tunnel; nullopt: it cannot carry one.
[[nodiscard]] std::optional<IpAddress> outer_address(const EndpointInfo& info, TunnelType type);

class EndpointDesk {
public:
    // What an endpoint should hold now.
    using Desired = std::function<std::vector<TunnelSpec>(const EndpointInfo&)>;
    using Load = std::function<std::size_t(const std::string& name)>;

    EndpointDesk(const BrokerConfig& config, EndpointLinks& links, const Clock& clock,
                 const Generations& generations, Desired desired);

    // The preferred one, or the least loaded; nullptr when none fits.
    [[nodiscard]] const EndpointInfo* choose(const EndpointWish& wish, const Load& load) const;
    // Those connected that carry this type, least loaded first.
    [[nodiscard]] std::vector<const EndpointInfo*> carriers(TunnelType type,
                                                            const Load& load) const;
    // Connected now, else nullptr.
    [[nodiscard]] const EndpointInfo* find(const std::string& name) const;

    // As EndpointLinks says. After a failure the endpoint is synced, since nobody knows what it
    // holds. `done` is not called once the desk is gone.
    void install(const std::string& name, const TunnelSpec& spec, Done<void> done);
    void remove(const std::string& name, const IpAddress& inner, Generation up_to, Done<void> done);

    // No endpoint is synced before we know leases. As long as we know those of one family only, a
    // sync puts in what is missing and takes nothing away.
    void allow_syncs(bool knows_all);
    // Its part of the table changed other than by install and remove.
    void mark(const std::string& name);
    void mark_all();
    void sync_marked();

    void up(const EndpointInfo& info);
    void gone(const std::string& name);

    struct View {
        EndpointInfo info;
        bool connected = false;
        bool in_sync = false;
    };
    [[nodiscard]] std::vector<View> views() const;

private:
    struct Endpoint {
        EndpointInfo info;
        bool connected = false;
        std::uint64_t connection = 0;  // counts, so that a late completion is known as such
        bool marked = false;
        bool syncing = false;
        Instant sync_not_before{};
    };
    [[nodiscard]] Done<void> watch(const std::string& name, Done<void> done);
    void sync(const std::string& name, Endpoint& endpoint);
    void on_synced(const std::string& name, std::uint64_t connection,
                   const Result<SyncOutcome>& outcome);

    const BrokerConfig& config_;
    EndpointLinks& links_;
    const Clock& clock_;
    const Generations& generations_;
    Desired desired_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    std::map<std::string, Endpoint> endpoints_;
    bool may_sync_ = false;
    bool knows_all_ = false;
};

}  // namespace dstm::server
