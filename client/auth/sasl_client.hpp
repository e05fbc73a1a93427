// The client's side of one SASL exchange, by Cyrus SASL. The only place of the client that includes
// it. Blocking (a plug-in may ask a file or a network): not for the event thread.
//
// RFC 5572 s4.4.2. Never prints or keeps a secret longer than the exchange.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "common/base/secret.hpp"

namespace dstm::client {

struct Identity {
    std::string user;  // empty: anonymous
    Secret password;
};

class SaslClient {
public:
    struct Start {
        std::string mechanism;
        std::optional<std::string> initial_response;  // not encoded
    };

    // `server_name` is the server's name as configured; DIGEST-MD5 binds to "tsp/<server_name>".
    [[nodiscard]] static Result<SaslClient> create(const Identity& identity,
                                                   const std::string& server_name);
    SaslClient(SaslClient&&) noexcept;
    SaslClient& operator=(SaslClient&&) noexcept;
    ~SaslClient();

    // Takes the first of `accepted` that is offered and that works here. refused: none does, the
    // context names what was offered.
    [[nodiscard]] Result<Start> start(const std::vector<std::string>& accepted,
                                      const std::vector<std::string>& offered);
    // The answer to a challenge; refused when the server's part of the exchange is wrong.
    [[nodiscard]] Result<std::string> step(const std::string& challenge);
    // Our part is done, and the server has shown that it knows the password where the mechanism
    // demands it. A success of the server without this must not be believed.
    [[nodiscard]] bool is_complete() const;

private:
    struct State;
    explicit SaslClient(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace dstm::client
