// What is wrong with a text that is not JSON, in words for whoever wrote it.
#pragma once

#include <string>
#include <string_view>

namespace dstm::config {

// `said` is what nlohmann-json's parse_error says.
[[nodiscard]] std::string syntax_error_in_words(std::string_view said);

}  // namespace dstm::config
