// What a signalling dialogue asks of the broker, as seen from the network: one id a dialogue. Its
// body is the Broker (server.cpp); the tests have one in memory.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "common/tsp/message.hpp"
#include "common/tsp/server_session.hpp"
#include "dstm-server/ports.hpp"

namespace dstm::server::net {

class TunnelService {
public:
    using Answer = std::function<void(tsp::TunnelAnswered)>;

    virtual ~TunnelService() = default;
    [[nodiscard]] virtual std::uint64_t open(const SessionPeer& peer) = 0;
    // Empty user: anonymous. Before the first request.
    virtual void authenticated(std::uint64_t session, std::string user) = 0;
    // `answer` is called exactly once, at once or later, never after close().
    virtual void request(std::uint64_t session, const tsp::TunnelMessage& message,
                         Answer answer) = 0;
    virtual void accept(std::uint64_t session) = 0;
    virtual void reject(std::uint64_t session) = 0;
    virtual void close(std::uint64_t session) = 0;
};

}  // namespace dstm::server::net
