// What one signalling dialogue asks of the authenticator and the tunnel service, whatever carries
// its bytes: carries out the actions of a tsp::ServerSession that are not about the wire, and
// brings the outcomes back as its events (RFC 5572 s4.3). Who tries too often is told 530 before
// either is asked (s8). It decides nothing else about the protocol.
#pragma once

#include <functional>
#include <memory>
#include <variant>

#include "common/base/clock.hpp"
#include "common/tsp/server_session.hpp"
#include "common/tsp/throttle.hpp"
#include "dstm-server/auth/authenticator.hpp"
#include "dstm-server/net/tunnel_service.hpp"

namespace boost::asio {
class io_context;
}

namespace dstm::server::net {

// What a dialogue works with. All of it outlives the dialogue.
struct SessionEdges {
    boost::asio::io_context& events;
    const Clock& clock;
    Authenticator& authenticator;
    TunnelService& tunnels;
    tsp::Throttle& throttle;
};

class SessionOwner {
public:
    using Event = std::variant<tsp::AuthenticationStepDone, tsp::TunnelAnswered>;
    using Tell = std::function<void(const Event&)>;

    // `tell` is called from a handler on the event thread, never from within a call, and not after
    // end(). `certified_name`: of the client's TLS certificate, if it has shown one.
    SessionOwner(SessionPeer peer, std::string certified_name, const SessionEdges& edges,
                 Tell tell);
    ~SessionOwner();
    SessionOwner(const SessionOwner&) = delete;
    SessionOwner& operator=(const SessionOwner&) = delete;

    void carry_out(tsp::StartAuthentication& action);
    void carry_out(tsp::ContinueAuthentication& action);
    void carry_out(tsp::RequestTunnel& action);
    void carry_out(tsp::ConfirmTunnel& action);
    void carry_out(tsp::DeclineTunnel& action);
    void carry_out(tsp::ReportViolation& action);

    // The dialogue is over: what was not accepted goes back now.
    void end();

private:
    void step_done(AuthenticationStep step);
    void tell_later(Event event);
    [[nodiscard]] bool may_request();
    void report_refusal(const tsp::TunnelAnswered& answer) const;

    const SessionPeer peer_;
    const AuthenticationChannel channel_;
    const SessionEdges edges_;
    Tell tell_;
    std::string user_;  // empty: anonymous, or not yet known
    std::uint64_t id_ = 0;  // 0: ended
    std::unique_ptr<Conversation> conversation_;
    // Outcomes that come after the end find nobody.
    std::shared_ptr<SessionOwner*> self_ = std::make_shared<SessionOwner*>(this);
};

}  // namespace dstm::server::net
