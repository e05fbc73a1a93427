// The machine that owns the bindings: it answers TSP requests by leasing from Kea and installing on
// an endpoint, and keeps lease store, endpoints and its own table equal when one of them fails.
//
// It knows no socket, no XML, no JSON and no thread: everything runs on the event thread, edges are
// the interfaces of ports.hpp, time comes from the clock it is given. Follows RFC 5572 s4.7 and
// s5.3 for the answers, RFC 7596 s6.1 for the tie of tunnel and lease.
//
// For the network side, one SessionId for each signalling dialogue:
//   open -> authenticated -> request (create) -> accept | reject -> request ... -> close
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/ip_address.hpp"
#include "common/tsp/message.hpp"
#include "common/tsp/server_session.hpp"
#include "dstm-server/broker/config.hpp"
#include "dstm-server/dns/reverse_delegation.hpp"
#include "dstm-server/ports.hpp"

namespace dstm::server {

using SessionId = std::uint64_t;  // never 0, never used twice

// What the admin socket shows.
struct BindingView {
    Lease lease;  // address and expiry; user, host, outer address, endpoint in its context
    bool accepted = false;  // false: offered, the client has not said accept yet
};
struct EndpointView {
    EndpointInfo info;
    bool connected = false;
    bool in_sync = false;      // it holds what it should, as far as we know
    std::size_t bindings = 0;  // that it should carry
};
struct LeaseStoreStatus {
    bool is_used = false;  // leases of this family are given out
    bool is_up = false;
    bool has_listed = false;  // the first list of leases has come: requests are served
};
struct BrokerStatus {
    LeaseStoreStatus kea;   // v4v6
    LeaseStoreStatus kea6;  // the other types
    std::size_t sessions = 0;
    std::size_t bindings = 0;   // accepted
    std::size_t exchanges = 0;  // creates and deletes between request and end, offers too
    std::size_t debts = 0;      // leases to be given back when Kea answers
};

class Broker final : public EndpointListener {
public:
    using Answer = std::function<void(tsp::TunnelAnswered)>;

    // Makes itself the listener of `stores` and `links`. `dns` may be nullptr: no reverse zone is
    // delegated. All of them outlive the broker; completions may come after it is gone and are
    // ignored then.
    Broker(BrokerConfig config, LeaseStores stores, EndpointLinks& links, AuditLog& audit,
           ReverseDelegation* dns, const Clock& clock);
    ~Broker() override;
    Broker(const Broker&) = delete;
    Broker& operator=(const Broker&) = delete;

    // --- the network side ------------------------------------------------------------------------

    [[nodiscard]] SessionId open(const SessionPeer& peer);
    // Empty user: anonymous. Once for each session, before the first request.
    void authenticated(SessionId session, std::string user);
    // A create, info or delete (tsp::RequestTunnel). `answer` is called exactly once, possibly
    // before this returns; never after close(session).
    void request(SessionId session, const tsp::TunnelMessage& message, Answer answer);
    // tsp::ConfirmTunnel, tsp::DeclineTunnel: of the last create that was answered with success.
    // Without such a create they do nothing.
    void accept(SessionId session);
    void reject(SessionId session);
    // The dialogue is over, for whatever reason. What was not accepted goes back; what was, stays.
    // Unknown and closed sessions are ignored.
    void close(SessionId session);

    // Tries again what is owed; to be called about once a second.
    void tick();

    // New limits and lifetimes for requests from now on.
    void reconfigure(BrokerConfig config);

    // --- the operator's side ---------------------------------------------------------------------

    [[nodiscard]] BrokerStatus status() const;
    [[nodiscard]] std::vector<BindingView> bindings() const;
    [[nodiscard]] std::vector<EndpointView> endpoints() const;

    // --- what the edges report -------------------------------------------------------------------

    void on_endpoint_up(const EndpointInfo& info) override;
    void on_endpoint_gone(const std::string& name) override;
    void on_tunnels_idle(const std::string& name, const std::vector<IpAddress>& inner) override;

private:
    class Machine;
    LeaseStores stores_;
    EndpointLinks& links_;
    std::unique_ptr<Machine> machine_;
};

}  // namespace dstm::server
