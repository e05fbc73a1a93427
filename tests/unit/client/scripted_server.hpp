// A TSP server that follows a script, on ::1, in the same event loop as what is tested.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "common/io/asio.hpp"

namespace dstm::client {

// Waits until what came holds `expect`, then sends `reply`. An empty reply sends nothing.
struct Step {
    std::string expect;
    std::string reply;
};

class ScriptedServer {
public:
    static constexpr std::size_t never = static_cast<std::size_t>(-1);

    ScriptedServer(asio::io_context& context, std::vector<Step> script,
                   const asio::ip::address& address = asio::ip::address_v6::loopback(),
                   std::uint16_t port = 0)
        : acceptor_(context, {address, port}),
          socket_(context),
          script_(std::move(script)) {
        acceptor_.async_accept(socket_, [this](const ErrorCodeOfAsio& error) {
            if (error) return;
            ++accepted;
            ErrorCodeOfAsio ignored;
            socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
            if (close_at == 0) {
                socket_.close(ignored);
                return;
            }
            read();
        });
    }

    [[nodiscard]] std::uint16_t port() const { return acceptor_.local_endpoint().port(); }

    std::size_t close_at = never;   // closes instead of this step's reply (step 0: at once)
    std::size_t stall_at = never;   // never answers this step
    bool byte_by_byte = false;      // each byte in a segment of its own
    std::string received;           // all of it
    std::size_t accepted = 0;
    bool peer_closed = false;
    std::size_t step = 0;

private:
    void read() {
        socket_.async_read_some(asio::buffer(buffer_),
                                [this](const ErrorCodeOfAsio& error, std::size_t count) {
                                    if (error) {
                                        peer_closed = true;
                                        return;
                                    }
                                    received.append(buffer_.data(), count);
                                    unread_.append(buffer_.data(), count);
                                    advance();
                                    if (socket_.is_open()) read();
                                });
    }

    void advance() {
        while (step < script_.size()) {
            const auto& next = script_[step];
            const auto at = unread_.find(next.expect);
            if (at == std::string::npos) return;
            unread_.erase(0, at + next.expect.size());
            ++step;
            if (step == stall_at) return;
            if (step == close_at) {
                ErrorCodeOfAsio ignored;
                socket_.close(ignored);
                return;
            }
            for (std::size_t i = 0; i < next.reply.size();) {
                const auto size = byte_by_byte ? 1 : next.reply.size();
                pieces_.push_back(next.reply.substr(i, size));
                i += size;
            }
            if (!writing_) write();
        }
    }

    void write() {
        writing_ = !pieces_.empty();
        if (!writing_) return;
        asio::async_write(socket_, asio::buffer(pieces_.front()),
                          [this](const ErrorCodeOfAsio& error, std::size_t) {
                              if (error) return;
                              pieces_.pop_front();
                              write();
                          });
    }

    asio::ip::tcp::acceptor acceptor_;
    asio::ip::tcp::socket socket_;
    std::vector<Step> script_;
    std::array<char, 4096> buffer_{};
    std::string unread_;
    std::deque<std::string> pieces_;
    bool writing_ = false;
};

}  // namespace dstm::client
