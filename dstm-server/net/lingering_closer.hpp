// Closes TCP connections so that the last words arrive. A plain close with unread input makes the
// kernel send a reset, which may overtake our reply; so what still comes in is read and thrown away
// until the peer closes too, within a bound of time and bytes.
#pragma once

#include <cstddef>
#include <memory>

#include "common/io/asio.hpp"

namespace dstm::server::net {

class LingeringCloser {
public:
    using Socket = asio::ip::tcp::socket;

    // Over `sockets_max`, sockets are closed at once.
    LingeringCloser(asio::io_context& events, std::size_t sockets_max);
    ~LingeringCloser();
    LingeringCloser(const LingeringCloser&) = delete;
    LingeringCloser& operator=(const LingeringCloser&) = delete;

    // Everything to be said was written.
    void close(Socket socket);
    [[nodiscard]] std::size_t count() const;

private:
    struct Shared;
    struct One;
    std::shared_ptr<Shared> shared_;
};

}  // namespace dstm::server::net
