// Names of Asio for headers that only pass them on; asio.hpp is for those who use them.
#pragma once

namespace boost::asio {
class io_context;
}
namespace dstm {
namespace asio = boost::asio;
}
