// The edge to whatever judges names and passwords (SASL, RFC 4422), with an in-memory twin in the
// tests. Calls return at once; outcomes come later on the event thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/ip_address.hpp"
#include "common/base/secret.hpp"

namespace dstm::server {

struct AuthenticationStep {
    enum class Outcome {
        challenge,    // `data` goes to the peer, its response to step()
        success,      // `data` (if any) goes with it: rspauth, SCRAM's v=
        failure,      // bad name, password or message
        unavailable,  // the store of passwords cannot be asked now
    };
    Outcome outcome = Outcome::failure;
    std::string data;  // not encoded
    std::string user;  // of success; empty: anonymous
};

// Over what an exchange goes: it decides which mechanisms can be had.
struct AuthenticationChannel {
    IpEndpoint peer;
    bool is_encrypted = false;         // TLS
    std::string certified_name = {};  // by the client's certificate; empty: it has shown none
};

// One exchange. Destroying it abandons the exchange: `done` is not called any more.
class Conversation {
public:
    using Done = std::function<void(AuthenticationStep)>;

    virtual ~Conversation() = default;
    // After a challenge, one at a time. `done` is called exactly once.
    virtual void step(Secret response, Done done) = 0;
};

class Authenticator {
public:
    virtual ~Authenticator() = default;
    // Those that are configured and work on such a channel, in the order to be offered.
    [[nodiscard]] virtual std::vector<std::string> mechanisms(
        const AuthenticationChannel& channel) const = 0;
    [[nodiscard]] virtual std::unique_ptr<Conversation> start(
        const std::string& mechanism, std::optional<Secret> initial_response,
        const AuthenticationChannel& channel, Conversation::Done done) = 0;
};

}  // namespace dstm::server
