# Makes dstm_messages.h and dstm_messages.cpp from a .mes file: what Kea's own message compiler
# does, which Debian does not ship.
#
#   cmake -D INPUT=dstm_messages.mes -D OUTPUT=folder -P messages.cmake
#
# A message is a line "% IDENTIFIER text with %1 %2"; the paragraph under it is for the operator and
# must be there. Lines that start with '#' are comments.
cmake_minimum_required(VERSION 3.25)

file(STRINGS ${INPUT} lines ENCODING UTF-8)

set(identifiers)
set(declarations "")
set(definitions "")
set(table "")
set(pending "")  # the message that still lacks its paragraph
foreach(line IN LISTS lines)
  if(line MATCHES "^#" OR line STREQUAL "")
    continue()
  elseif(line MATCHES "^% ([A-Z][A-Z0-9_]+) (.+)$")
    set(identifier ${CMAKE_MATCH_1})
    set(text "${CMAKE_MATCH_2}")
    if(pending)
      message(FATAL_ERROR "${INPUT}: ${pending} has no paragraph for the operator")
    endif()
    if(identifier IN_LIST identifiers)
      message(FATAL_ERROR "${INPUT}: ${identifier} is there twice")
    endif()
    string(REPLACE "\\" "\\\\" text "${text}")
    string(REPLACE "\"" "\\\"" text "${text}")
    list(APPEND identifiers ${identifier})
    string(APPEND declarations "extern const isc::log::MessageID ${identifier};\n")
    string(APPEND definitions
           "extern const isc::log::MessageID ${identifier} = \"${identifier}\";\n")
    string(APPEND table "    \"${identifier}\", \"${text}\",\n")
    set(pending ${identifier})
  elseif(line MATCHES "^%")
    message(FATAL_ERROR "${INPUT}: cannot read: ${line}")
  else()
    set(pending "")
  endif()
endforeach()
if(pending)
  message(FATAL_ERROR "${INPUT}: ${pending} has no paragraph for the operator")
endif()

set(header "// Made from dstm_messages.mes by messages.cmake.
#pragma once

#include <log/message_types.h>

namespace dstm::kea {

${declarations}
}  // namespace dstm::kea
")
set(source "// Made from dstm_messages.mes by messages.cmake.
#include \"dstm_messages.h\"

#include <cstddef>

#include <log/message_initializer.h>

namespace dstm::kea {

${definitions}
}  // namespace dstm::kea

namespace {

const char* values[] = {
${table}    nullptr,
};

const isc::log::MessageInitializer initializer(values);

}  // namespace
")
file(WRITE ${OUTPUT}/dstm_messages.h "${header}")
file(WRITE ${OUTPUT}/dstm_messages.cpp "${source}")
