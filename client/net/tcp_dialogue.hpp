// A dialogue over TCP: one connection, a stream of bytes (RFC 5572 s4.4.1.1).
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "client/net/dialogue.hpp"

namespace dstm::client {

class TcpDialogue final : public Dialogue {
public:
    TcpDialogue(const Surroundings& around, const SignallingConfig& config, Target server,
                EventHandler handler);

private:
    using Tcp = asio::ip::tcp;

    tsp::client::Actions feed(const SessionEvent& event, Instant now) override;
    std::optional<Instant> deadline() const override { return session_.deadline(); }
    void connect_next() override;
    void transmit(std::string bytes) override;
    std::optional<Ends> ends() const override;
    bool is_flushed() const override { return outbox_.empty(); }
    void flush() override;
    void close_socket() override;

    std::shared_ptr<TcpDialogue> self();
    void connected();
    void read_more();
    void write_more();

    tsp::ClientSession session_;
    Tcp::socket socket_;
    bool gave_up_waiting_ = false;  // for the connection to the present address
    std::deque<std::string> outbox_;
    std::array<char, 4096> inbox_{};
};

}  // namespace dstm::client
