// A Kea hook that says what the test tells it to, on a UNIX socket.
#pragma once

#include <unistd.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/io/asio.hpp"
#include "dstm-server/line_buffer.hpp"

namespace dstm::server::test {

class FakeHook {
public:
    using Socket = asio::local::stream_protocol::socket;

    FakeHook(asio::io_context& events, std::string path)
        : events_(events), path_(std::move(path)) {}
    ~FakeHook() { stop(); }

    void start() {
        ::unlink(path_.c_str());
        acceptor_ = std::make_unique<asio::local::stream_protocol::acceptor>(
            events_, asio::local::stream_protocol::endpoint(path_));
        accept();
    }
    void stop() {
        drop();
        acceptor_.reset();
        ::unlink(path_.c_str());
    }
    // Ends the connection, not the listening.
    void drop() {
        ErrorCodeOfAsio ignored;
        if (client_ != nullptr) client_->close(ignored);
        client_.reset();
    }
    // To the client, when there is one.
    void say(const std::string& bytes) { asio::write(*client_, asio::buffer(bytes)); }

    bool is_connected() const { return client_ != nullptr; }
    int connections = 0;
    std::string greeting;                     // said to everyone who connects
    std::vector<nlohmann::json> requests;     // all that came in

private:
    void accept() {
        acceptor_->async_accept([this](auto error, Socket socket) {
            if (error) return;
            ++connections;
            client_ = std::make_shared<Socket>(std::move(socket));
            if (!greeting.empty()) say(greeting);
            read(client_, std::make_shared<LineBuffer>(1 << 20));
            accept();
        });
    }
    void read(std::shared_ptr<Socket> client, std::shared_ptr<LineBuffer> lines) {
        auto input = std::make_shared<std::array<char, 4096>>();
        client->async_read_some(
            asio::buffer(*input), [this, client, lines, input](auto error, std::size_t size) {
                if (error) {
                    if (client_ == client) client_.reset();
                    return;
                }
                lines->append({input->data(), size});
                while (const auto line = lines->next()) {
                    requests.push_back(nlohmann::json::parse(*line));
                }
                read(client, lines);
            });
    }

    asio::io_context& events_;
    std::string path_;
    std::unique_ptr<asio::local::stream_protocol::acceptor> acceptor_;
    std::shared_ptr<Socket> client_;
};

}  // namespace dstm::server::test
