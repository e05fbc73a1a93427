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

std::deque<Way> ways_of(Transport transport) {
    switch (transport) {
        case Transport::automatic: return {Way::tcp, Way::udp};
        case Transport::udp: return {Way::udp, Way::tcp};
        case Transport::tcp: return {Way::tcp};
    }
    return {};
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
        ways_ = ways_of(config_.transport);
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

    std::optional<Ipv6Address> source_towards(const IpEndpoint& peer) override {
        const auto* address = std::get_if<Ipv6Address>(&peer.address);
        if (address == nullptr) return std::nullopt;
        // Connecting a datagram socket sends nothing; the kernel only chooses route and source.
        asio::ip::udp::socket probe(context_);
        ErrorCodeOfAsio error;
        probe.open(asio::ip::udp::v6(), error);
        if (!error) probe.connect({asio::ip::address_v6(address->bytes()), peer.port}, error);
        if (error) return std::nullopt;
        const auto local = probe.local_endpoint(error);
        if (error) return std::nullopt;
        // While the last address goes and the new one is not there yet, the kernel would send from
        // its link-local address; a move to that leads nowhere.
        const Ipv6Address source(local.address().to_v6().to_bytes());
        return source.is_usable_unicast() ? std::optional(source) : std::nullopt;
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
            dialogue_ = std::make_shared<UdpDialogue>(around, config_, server_, handler);
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
};

}  // namespace

std::unique_ptr<Signalling> make_signalling(asio::io_context& context, const Clock& clock,
                                            SignallingConfig config, EventHandler handler) {
    return std::make_unique<AnySignalling>(context, clock, std::move(config), std::move(handler));
}

}  // namespace dstm::client
