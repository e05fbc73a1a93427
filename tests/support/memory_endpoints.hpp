// Tunnel endpoints in memory: what they hold, by the rules of ports.hpp and
// docs/wire/endpoint-link.md, and one server's links to them. Tunnels live on when a server or a
// link dies; an endpoint that restarts has lost them.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dstm-server/ports.hpp"
#include "support/scheduler.hpp"
#include "support/wire.hpp"

namespace dstm::support {

class MemoryEndpoint {
public:
    explicit MemoryEndpoint(server::EndpointInfo info_given) : info(std::move(info_given)) {}

    server::EndpointInfo info;
    std::map<IpAddress, TunnelSpec> tunnels;

    [[nodiscard]] Result<void> install(const TunnelSpec& spec);
    void remove(const IpAddress& inner, Generation up_to);
    [[nodiscard]] server::SyncOutcome sync(const std::vector<TunnelSpec>& wanted, Generation as_of);
    // An endpoint carries nothing after the end of its lease.
    void drop_expired(WallTime now);
};

class MemoryEndpointLinks final : public server::EndpointLinks {
public:
    MemoryEndpointLinks(Scheduler& scheduler, const Fates& fates)
        : scheduler_(scheduler), fates_(fates) {}

    void connect(MemoryEndpoint& endpoint);
    void disconnect(const std::string& name);
    // The endpoint has seen no packet of these for long.
    void report_idle(const std::string& name, const std::vector<IpAddress>& inner);
    [[nodiscard]] bool is_connected(const std::string& name) const { return links_.contains(name); }
    // At the death of the server: what was sent is carried out.
    void let_requests_survive();

    void set_listener(server::EndpointListener* listener) override { listener_ = listener; }
    void install(const std::string& endpoint, const TunnelSpec& spec,
                 server::Done<void> done) override;
    void remove(const std::string& endpoint, const IpAddress& inner, Generation up_to,
                server::Done<void> done) override;
    void sync(const std::string& endpoint, std::vector<TunnelSpec> tunnels, Generation as_of,
              server::Done<server::SyncOutcome> done) override;

private:
    struct Link {
        MemoryEndpoint* endpoint;
        std::unique_ptr<Wire> wire;
    };
    template <class T>
    void submit(const std::string& name, std::string_view operation,
                std::function<Result<T>(MemoryEndpoint&)> effect, server::Done<T> done);

    Scheduler& scheduler_;
    const Fates& fates_;
    std::map<std::string, Link> links_;
    server::EndpointListener* listener_ = nullptr;
    // Links that broke, kept so that the requests on them are still answered.
    std::vector<std::unique_ptr<Wire>> broken_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace dstm::support
