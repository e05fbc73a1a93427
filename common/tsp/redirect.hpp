// Sending clients to other brokers (RFC 5572 s4.7.4, Appendix B, Figure 9): the code of the refusal
// plus 1000, and a list. Does not know when.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "common/tsp/message.hpp"
#include "common/tsp/status.hpp"

namespace dstm::tsp {

struct Redirect {
    std::vector<Broker> brokers;  // empty: nobody is sent away
    bool is_always = false;       // whoever comes, at VERSION; else those who cannot be served
};

// The refusals after which another server may do better: 301, 302, 530.
[[nodiscard]] bool is_local_refusal(Status status);

// Status line and list, not yet framed. Brokers from the end of the list are left out until the
// text has at most `size_max` bytes (0: no limit); if not even one fits, it is the refusal alone.
[[nodiscard]] std::string format_redirect(Status status, std::string_view detail,
                                          std::vector<Broker> brokers, std::size_t size_max = 0);

}  // namespace dstm::tsp
