// Client identifiers from a digest. See client_id.hpp.
#include "dstm-server/broker/client_id.hpp"

#include <string>

#include "common/base/assert.hpp"
#include "dstm-server/broker/digest.hpp"

namespace dstm::server {

ClientId make_client_id(Family family, std::string_view user, std::string_view host) {
    DSTM_ASSERT(host.find('\0') == std::string_view::npos);
    const bool is_v4 = family == Family::v4;
    std::string input = is_v4 ? "dstm" : "dstm6";
    input.push_back('\0');
    input.append(user);
    input.push_back('\0');
    input.append(host);

    const auto digest = sha256(input);
    ClientId id = is_v4 ? ClientId{0x00} : ClientId{0x00, 0x04};
    id.insert(id.end(), digest.begin(), digest.begin() + (is_v4 ? 19 : 16));
    return id;
}

}  // namespace dstm::server
