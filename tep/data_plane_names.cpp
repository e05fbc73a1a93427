// Apart from the planes themselves, so that a configuration can be checked without them.
#include "tep/data_plane_choice.hpp"

namespace dstm::tep {

const std::vector<std::string>& data_plane_names() {
    static const std::vector<std::string> names{"auto", "bpf", "kernel", "tun"};  // the first is the default
    return names;
}

}  // namespace dstm::tep
