// The only way to Boost.Beast and to Asio's TLS, for the files of common/io.
#pragma once

#include "common/io/asio.hpp"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/beast/websocket/ssl.hpp>
#pragma GCC diagnostic pop

namespace dstm::io {

namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace websocket = boost::beast::websocket;
namespace ssl = boost::asio::ssl;

using Tcp = asio::ip::tcp;
using Unix = asio::local::stream_protocol;
using TlsStream = ssl::stream<Tcp::socket>;

}  // namespace dstm::io
