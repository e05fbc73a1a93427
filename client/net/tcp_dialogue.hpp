// A dialogue over TCP, or TLS on it: a stream of bytes (RFC 5572 s4.4.1.1). Of a server with many
// addresses the one that connects first is taken; each gets a head start before the next is tried
// beside it (RFC 8305 s5). The others stay in the list.
#pragma once

#include <array>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "client/net/dialogue.hpp"
#include "common/io/byte_stream.hpp"

namespace dstm::client {

class TcpDialogue final : public Dialogue {
public:
    TcpDialogue(const Surroundings& around, const SignallingConfig& config,
                std::shared_ptr<ServerAddresses> addresses, EventHandler handler);

private:
    using Tcp = asio::ip::tcp;
    // One address that is being connected to.
    struct Attempt {
        Attempt(asio::io_context& context, asio::ip::address to)
            : address(std::move(to)), socket(context), timeout(context) {}
        asio::ip::address address;
        Tcp::socket socket;
        io::Timer timeout;
        bool is_too_late = false;
    };

    tsp::client::Actions feed(const SessionEvent& event, Instant now) override;
    std::optional<Instant> deadline() const override;
    void try_addresses() override;
    void transmit(std::string bytes) override;
    std::optional<Ends> ends() const override;
    bool is_flushed() const override { return outbox_.empty(); }
    void flush() override;
    void close_socket() override;

    std::shared_ptr<TcpDialogue> self();
    void connect_next();
    void connect(const std::shared_ptr<Attempt>& attempt);
    void connected(const std::shared_ptr<Attempt>& attempt);
    [[nodiscard]] Result<std::unique_ptr<io::ByteStream>> make_stream(Tcp::socket socket) const;
    void begun(const ErrorCodeOfAsio& error);
    void give_up_attempts();
    void read_more();
    void write_more();

    std::optional<tsp::ClientSession> session_;  // once the server has shown who it is
    std::list<std::shared_ptr<Attempt>> attempts_;
    bool has_head_start_ = false;  // the last of them
    std::unique_ptr<io::ByteStream> stream_;  // of the address that was taken
    std::deque<std::string> outbox_;
    std::array<char, 4096> inbox_{};
};

}  // namespace dstm::client
