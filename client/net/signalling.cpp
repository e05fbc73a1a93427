// Keeps one dialogue at a time, and goes on to the next transport when nobody answers by the first.
#include "client/net/signalling.hpp"

#include <deque>
#include <utility>

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

asio::ip::udp::endpoint to_asio(const IpEndpoint& endpoint) {
    if (const auto* v4 = std::get_if<Ipv4Address>(&endpoint.address)) {
        return {asio::ip::address_v4(v4->host_order()), endpoint.port};
    }
    const auto& bytes = std::get<Ipv6Address>(endpoint.address).bytes();
    return {asio::ip::address_v6(bytes), endpoint.port};
}

class AnySignalling final : public Signalling {
public:
    AnySignalling(asio::io_context& context, const Clock& clock, SignallingConfig config,
                  EventHandler handler)
        : context_(context),
          clock_(clock),
          config_(std::move(config)),
          handler_(std::move(handler)) {}

    ~AnySignalling() override {
        close();
        blocking_.join();
    }

    void connect(const Target& server) override {
        close();
        server_ = server;
        ways_ = ways_of(config_);
        begin();
    }

    void send(const tsp::TunnelMessage& message) override {
        if (dialogue_) dialogue_->send(message);
    }

    void close() override {
        ways_.clear();
        if (dialogue_) dialogue_->finish();
        dialogue_.reset();
    }

    std::optional<IpAddress> source_towards(const IpEndpoint& peer) override {
        const auto source = UdpPort::source_towards(context_, to_asio(peer));
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
        if (tunnel_port_) tunnel_port_->deliver(to_asio(from), datagram);
    }

private:
    void begin() {
        const Way way = ways_.front();
        ways_.pop_front();
        const Dialogue::Surroundings around{context_, blocking_, clock_};
        const auto handler = [this](const Event& event) { on_event(event); };
        if (way == Way::tcp) {
            dialogue_ = std::make_shared<TcpDialogue>(around, config_, server_, handler);
        } else {
            dialogue_ = std::make_shared<UdpDialogue>(around, config_, server_, handler,
                                                      tunnel_port_);
        }
        dialogue_->start();
    }

    // RFC 5572 Figure 4 leaves the choice; what one way cannot do the other may.
    void on_event(const Event& event) {
        const auto* failure = std::get_if<SessionFailed>(&event);
        const bool is_unreachable =
            failure != nullptr && failure->cause == SessionFailed::Cause::unreachable;
        if (!is_unreachable || ways_.empty()) {
            handler_(event);
            return;
        }
        log_info("CLIENT_OTHER_TRANSPORT", "{} is tried: {}",
                 ways_.front() == Way::tcp ? "TCP" : "UDP", failure->text);
        dialogue_->finish();
        begin();
    }

    asio::io_context& context_;
    const Clock& clock_;
    SignallingConfig config_;
    EventHandler handler_;
    Target server_;
    std::deque<Way> ways_;  // still to be tried
    asio::thread_pool blocking_{1};
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
