// EndpointLinks and DatagramRelay over real links: listens for endpoints, knows them by name, and
// hands each call to the endpoint's session.
//
// A hello with a name that is known already takes the name over and closes the older link: it is
// the same endpoint (its certificate, or the socket file's mode, says so), come back before we saw
// that its old link is dead.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/io/web_socket_link.hpp"
#include "dstm-server/datagram_relay.hpp"
#include "dstm-server/ports.hpp"
#include "dstm-server/tep/endpoint_session.hpp"

namespace dstm::server {

class LinkRegistry final : public EndpointLinks, public DatagramRelay {
public:
    // Links at once, those that have not said hello included.
    static constexpr std::size_t links_max = 1024;

    // `clock` must outlive the registry. `server_name` is what endpoints are told.
    LinkRegistry(asio::io_context& context, const Clock& clock, std::string server_name,
                 io::LinkOptions options = io::endpoint_link_options(), EndpointTimes times = {});
    // Closes everything. Completions that wait are dropped: their owners are going as well.
    ~LinkRegistry() override;
    LinkRegistry(const LinkRegistry&) = delete;
    LinkRegistry& operator=(const LinkRegistry&) = delete;

    // Any number of each, before or after the first endpoint has come.
    [[nodiscard]] Result<void> listen_unix(const std::string& path);
    // The port that is listened on: `address` may leave the choice with port 0.
    [[nodiscard]] Result<std::uint16_t> listen_tls(const IpEndpoint& address,
                                                   const io::TlsFiles& tls);

    void set_listener(EndpointListener* listener) override { listener_ = listener; }
    void install(const std::string& endpoint, const TunnelSpec& spec, Done<void> done) override;
    void remove(const std::string& endpoint, const IpAddress& inner, Generation up_to,
                Done<void> done) override;
    void sync(const std::string& endpoint, std::vector<TunnelSpec> tunnels, Generation as_of,
              Done<SyncOutcome> done) override;

    void set_relay_listener(RelayListener* listener) override { relay_listener_ = listener; }
    [[nodiscard]] bool relay(const std::string& endpoint, const IpEndpoint& peer,
                             std::string_view datagram) override;

    // Names of those that are up, for status output.
    [[nodiscard]] std::vector<EndpointInfo> endpoints() const;

private:
    using SessionPtr = std::shared_ptr<EndpointSession>;

    void take(io::LinkPtr link);
    void on_up(const SessionPtr& session);
    void on_gone(const SessionPtr& session);
    void tell_gone(const std::string& name);
    [[nodiscard]] SessionPtr find(const std::string& endpoint) const;
    [[nodiscard]] bool is_present(const SessionPtr& session) const;
    template <class T>
    [[nodiscard]] Done<T> while_alive(Done<T> done) const;
    template <class T>
    void fail_later(const std::string& endpoint, Done<T> done);

    asio::io_context& context_;
    const Clock& clock_;
    std::string server_name_;
    io::LinkOptions options_;
    EndpointTimes times_;
    EndpointListener* listener_ = nullptr;
    RelayListener* relay_listener_ = nullptr;
    std::vector<std::unique_ptr<io::LinkAcceptor>> acceptors_;
    std::set<SessionPtr> sessions_;              // every link, also before its hello
    std::map<std::string, SessionPtr> by_name_;  // those that are up
    // Handlers of sessions outlive us by a little; they see here that we are gone.
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace dstm::server
