// The Authenticator of Cyrus SASL: passwords in a sasldb2 file, Kerberos by GSSAPI, and EXTERNAL
// for the name in a client's certificate. One Cyrus connection for each
// conversation; every call into the library runs on the worker pool, because a plug-in may block,
// and its outcome is posted to the event thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/base/result.hpp"
#include "dstm-server/auth/authenticator.hpp"

namespace boost::asio {
class io_context;
class thread_pool;
}  // namespace boost::asio

namespace dstm::server {

struct SaslConfig {
    std::vector<std::string> mechanisms;  // upper case, in the order of CAPABILITY
    std::string realm;
    std::string sasldb;                   // path
    bool plain_without_tls = false;       // else PLAIN is offered on TLS only
    std::string hostname = {};            // of the Kerberos service tsp/hostname; GSSAPI
    std::string keytab = {};              // path; empty: the host's own
};

class SaslAuthenticator final : public Authenticator {
public:
    // Both outlive it; `workers` is joined before `events` goes. internal: the library does not
    // start. A mechanism without its plug-in and a missing sasldb are warnings in the log.
    [[nodiscard]] static Result<std::unique_ptr<SaslAuthenticator>> create(
        SaslConfig config, boost::asio::thread_pool& workers, boost::asio::io_context& events);
    ~SaslAuthenticator() override;

    [[nodiscard]] std::vector<std::string> mechanisms(
        const AuthenticationChannel& channel) const override;
    [[nodiscard]] std::unique_ptr<Conversation> start(const std::string& mechanism,
                                                      std::optional<Secret> initial_response,
                                                      const AuthenticationChannel& channel,
                                                      Conversation::Done done) override;

    struct Shared;  // what conversations go on to need when the authenticator is gone

private:
    explicit SaslAuthenticator(std::shared_ptr<const Shared> shared);
    std::shared_ptr<const Shared> shared_;
    std::vector<std::string> mechanisms_;  // those that work here, on one channel or another
};

}  // namespace dstm::server
