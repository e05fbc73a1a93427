// The only way to Boost.Asio. Boost 1.74 needs <utility> first under C++20, and g++ 12 warns about
// its headers, which are not ours to mend.
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
