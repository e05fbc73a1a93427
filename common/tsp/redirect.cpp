// The list of Figure 9 behind a status line.
#include "common/tsp/redirect.hpp"

#include <utility>

#include "common/tsp/reply.hpp"
#include "common/tsp/tunnel_xml.hpp"

namespace dstm::tsp {

bool is_local_refusal(Status status) {
    return status == Status::no_more_tunnels || status == Status::unsupported_version ||
           status == Status::too_busy;
}

std::string format_redirect(Status status, std::string_view detail, std::vector<Broker> brokers,
                            std::size_t size_max) {
    const auto code = static_cast<std::uint16_t>(status);
    const auto line =
        format_status_line(static_cast<std::uint16_t>(code + redirect_offset), detail);
    TunnelMessage list;
    list.action = Action::list;
    list.type = RequestType::broker;
    for (list.brokers = std::move(brokers); !list.brokers.empty(); list.brokers.pop_back()) {
        auto text = line + write_tunnel_xml(list);
        if (size_max == 0 || text.size() <= size_max) return text;
    }
    return format_status_line(code, detail);
}

}  // namespace dstm::tsp
