// Opens a listening UNIX socket in place of one that its owner left behind. Inside common/io only.
#pragma once

#include <string>

#include "common/base/result.hpp"
#include "common/io/asio.hpp"

namespace dstm::io {

// The file has mode 0660. conflict: somebody listens there, or the path is not a socket.
[[nodiscard]] Result<asio::local::stream_protocol::acceptor> open_unix_listener(
    asio::io_context& context, const std::string& path);

}  // namespace dstm::io
