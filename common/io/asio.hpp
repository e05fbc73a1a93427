// The only way to Boost.Asio. Boost 1.74 needs <utility> first under C++20, and g++ 12 warns about
// its headers, which are not ours to mend.
//
// One thread: each daemon has one io_context, run by its main thread alone. Everything in common/io
// is called from that thread and calls back on it, so nothing there is locked and no handler is
// interrupted by another. Work that blocks (a SASL plug-in) runs elsewhere and comes back by
// asio::post. A callback is never run from inside the call that started it.
#pragma once

#include <utility>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#include <boost/asio.hpp>
#pragma GCC diagnostic pop

namespace dstm {
namespace asio = boost::asio;
using ErrorCodeOfAsio = boost::system::error_code;
}  // namespace dstm
