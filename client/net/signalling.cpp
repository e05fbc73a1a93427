// Keeps one dialogue at a time, goes on to the next transport when nobody answers by the first, and
// remembers where it went well.
#include "client/net/signalling.hpp"

#include <deque>
#include <utility>

#include "client/net/errands.hpp"
#include "client/net/server_addresses.hpp"
#include "client/net/tcp_dialogue.hpp"
#include "client/net/udp_dialogue.hpp"
#include "common/io/asio.hpp"
#include "common/log/log.hpp"

namespace dstm::client {
namespace {

enum class Way { tcp, udp };

std::deque<Way> ways_of(const SignallingConfig& config) {
    // Never in clear by another way because TLS failed.
    if (config.tls) return {Way::tcp};
    if (may_share_port(config.type)) return {Way::udp};
    switch (config.transport) {
        case Transport::automatic: return {Way::tcp, Way::udp};
        case Transport::udp: return {Way::udp, Way::tcp};
        case Transport::tcp: return {Way::tcp};
    }
    return {};
}

asio::ip::udp::endpoint udp_endpoint(const IpEndpoint& endpoint) {
    return {to_asio(endpoint.address), endpoint.port};
}

class AnySignalling final : public Signalling {
public:
    AnySignalling(asio::io_context& context, const Clock& clock, SignallingConfig config,
                  EventHandler handler)
        : context_(context),
          clock_(clock),
          config_(std::move(config)),
          handler_(std::move(handler)),
          look_ups_(context),
          authentications_(context) {}

    ~AnySignalling() override { close(); }

    void connect(const Target& server) override {
        close();
        addresses_ = std::make_shared<ServerAddresses>(server, outer_family(config_.type),
                                                       config_.addresses_max);
        ways_ = ways_of(config_);
        const auto& good = config_.last_good;
        const bool is_known = good && good->server == server && good->address;
        if (is_known) addresses_->begin_with(*good->address);
        if (addresses_->needs_look_up()) look_up_addresses();
        begin(tunnel_port_);
    }

    void connect_elsewhere() override {
        close();
        if (addresses_) begin(nullptr);
    }

    void send(const tsp::TunnelMessage& message) override {
        if (dialogue_) dialogue_->send(message);
        // RFC 5572 s4.3: with this word there is a tunnel.
        if (message.action == tsp::Action::accept && peer_) {
            const bool has_moved = addresses_->has_lost(to_asio(*peer_));
            remember({addresses_->server(), has_moved ? std::nullopt : peer_});
            prepare_sasl();
        }
    }

    void close() override {
        peer_.reset();
        if (dialogue_) dialogue_->finish();
        dialogue_.reset();
    }

    std::optional<IpAddress> source_towards(const IpEndpoint& peer) override {
        const auto source = UdpPort::source_towards(context_, udp_endpoint(peer));
        if (!source) return std::nullopt;
        // While the last address goes and the new one is not there yet, the kernel would send from
        // its link-local address; a move to that leads nowhere.
        const bool is_link_local = source->is_v6() && source->to_v6().is_link_local();
        return is_link_local ? std::nullopt : parse_ip_address(source->to_string());
    }

    Result<dataplane::Descriptor> lend_socket() override {
        lent_port_ = dialogue_ ? dialogue_->udp_port() : nullptr;
        if (!lent_port_) return fail(ErrorCode::unavailable, "no dialogue by UDP is open");
        return lent_port_->duplicate();
    }

    void data_plane_reads(bool reads) override {
        const auto lent = std::exchange(lent_port_, nullptr);
        if (reads && lent && lent != tunnel_port_) {
            if (tunnel_port_) tunnel_port_->data_plane_reads(false);
            tunnel_port_ = lent;
        }
        if (tunnel_port_) tunnel_port_->data_plane_reads(reads);
    }

    void receive(const IpEndpoint& from, std::string_view datagram) override {
        if (tunnel_port_) tunnel_port_->deliver(udp_endpoint(from), datagram);
    }

private:
    void begin(const std::shared_ptr<UdpPort>& tunnel_port) {
        const Dialogue::Surroundings around{context_, authentications_, prepared_, clock_};
        const auto handler = [this](const Event& event) { on_event(event); };
        if (ways_.front() == Way::tcp) {
            dialogue_ = std::make_shared<TcpDialogue>(around, config_, addresses_, handler);
        } else {
            dialogue_ = std::make_shared<UdpDialogue>(around, config_, addresses_, handler,
                                                      tunnel_port);
        }
        dialogue_->start();
    }

    // Beside the dialogue, which may have an address to begin with.
    void look_up_addresses() {
        const auto work = [host = addresses_->server().host, family = outer_family(config_.type)] {
            return look_up(host, family);
        };
        const auto done = [this, list = addresses_](const auto& found) {
            list->found(found);
            // The server has moved: where it was is not tried first again.
            const auto& good = config_.last_good;
            const bool is_its_own = good && good->server == list->server() && good->address;
            if (is_its_own && list->has_lost(to_asio(*good->address))) {
                remember({good->server, std::nullopt});
            }
        };
        if (look_ups_.run(work, done)) return;
        addresses_->found(fail(ErrorCode::exhausted, "too many look-ups wait for the DNS"));
    }

    // For the renewal or move that comes.
    void prepare_sasl() {
        const auto& server = addresses_->server().host;
        if (prepared_.client && prepared_.server == server) return;
        const auto work = [identity = config_.identity, server]() -> std::shared_ptr<SaslClient> {
            auto client = SaslClient::create(identity, server);
            if (!client) return nullptr;
            return std::make_shared<SaslClient>(std::move(*client));
        };
        // Without it the next dialogue makes its own.
        (void)authentications_.run(work, [this, server](const auto& client) {
            prepared_ = {server, client};
        });
    }

    void remember(const GoodServer& good) {
        if (config_.last_good == good) return;
        config_.last_good = good;
        config_.remember(good);
    }

    void on_event(const Event& event) {
        if (const auto* opened = std::get_if<SessionOpened>(&event)) peer_ = opened->peer.address;
        const auto* failure = std::get_if<SessionFailed>(&event);
        if (failure != nullptr && is_for_the_other_way(*failure)) {
            ways_.pop_front();
            log_info("CLIENT_OTHER_TRANSPORT", "{} is tried: {}",
                     ways_.front() == Way::tcp ? "TCP" : "UDP", failure->text);
            dialogue_->finish();
            addresses_->start_over();
            begin(nullptr);
            return;
        }
        if (failure != nullptr && failure->has_others) {
            log_info("CLIENT_OTHER_ADDRESS", "{}", failure->text);
        }
        handler_(event);
    }

    // RFC 5572 Figure 4 leaves the choice; what one way cannot do the other may.
    [[nodiscard]] bool is_for_the_other_way(const SessionFailed& failure) const {
        using Cause = SessionFailed::Cause;
        const bool is_silent = failure.cause == Cause::unreachable ||
                               (failure.cause == Cause::lost && !peer_);
        return is_silent && !failure.has_others && ways_.size() > 1;
    }

    asio::io_context& context_;
    const Clock& clock_;
    SignallingConfig config_;
    EventHandler handler_;
    Errands look_ups_;
    Errands authentications_;
    PreparedSasl prepared_;
    std::shared_ptr<ServerAddresses> addresses_;  // of the server that was asked last
    std::deque<Way> ways_;                        // the first is the present one
    std::optional<IpAddress> peer_;               // of the session that is open
    std::shared_ptr<Dialogue> dialogue_;
    std::shared_ptr<UdpPort> tunnel_port_;  // of the v6udpv4 tunnel that stands, or stood last
    std::shared_ptr<UdpPort> lent_port_;    // asked for, not yet in use
};

}  // namespace

std::unique_ptr<Signalling> make_signalling(asio::io_context& context, const Clock& clock,
                                            SignallingConfig config, EventHandler handler) {
    return std::make_unique<AnySignalling>(context, clock, std::move(config), std::move(handler));
}

}  // namespace dstm::client
