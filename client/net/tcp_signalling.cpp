// Keeps one dialogue at a time; the work is in dialogue.cpp.
#include "client/net/tcp_signalling.hpp"

#include <utility>

#include "client/net/dialogue.hpp"
#include "common/io/asio.hpp"

namespace dstm::client {
namespace {

class TcpSignalling final : public Signalling {
public:
    TcpSignalling(asio::io_context& context, const Clock& clock, TcpSignallingConfig config,
                  EventHandler handler)
        : context_(context),
          clock_(clock),
          config_(std::move(config)),
          handler_(std::move(handler)) {}

    ~TcpSignalling() override {
        close();
        blocking_.join();
    }

    void connect(const Target& server) override {
        close();
        dialogue_ = std::make_shared<Dialogue>(context_, blocking_, clock_, config_, server,
                                               handler_);
        dialogue_->start();
    }

    void send(const tsp::TunnelMessage& message) override {
        if (dialogue_) dialogue_->send(message);
    }

    void close() override {
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
        return Ipv6Address(local.address().to_v6().to_bytes());
    }

private:
    asio::io_context& context_;
    const Clock& clock_;
    TcpSignallingConfig config_;
    EventHandler handler_;
    asio::thread_pool blocking_{1};
    std::shared_ptr<Dialogue> dialogue_;
};

}  // namespace

std::unique_ptr<Signalling> make_tcp_signalling(asio::io_context& context, const Clock& clock,
                                                TcpSignallingConfig config, EventHandler handler) {
    return std::make_unique<TcpSignalling>(context, clock, std::move(config), std::move(handler));
}

}  // namespace dstm::client
