"""All of the Slicer module but its entry, CTGLIP.py.

Where to look; a test sees to it that every module is named here.

The panel: `widget` wires six sections, `setup_section`, `inputs_section`, `ask_section` (with
`question_edit_widget` and `presets`), `see_section` (with `findings_table_widget`), `keep_section` and `tumor_section`;
`parameters` is what the user chose, `results_panel` what was answered. Only names
that end in widget or section use Qt.

Scripts: `logic`, its `script_options`; `self_test` runs in Slicer.

Asking: `session` (a request at a time; `session_types`, `states`, `descriptions`) asks the child process through
`worker_client` (`process_tree` ends it, `worker_failure` words why it failed); `study_store` keeps the files of
studies (`temporary_folders`); `answers` puts an answer into the scene.

The scene, read and written: `nodes` is the front of `nodes_read`, `nodes_arrays` (IJK to RAS), `nodes_layers`,
`nodes_labelmap`, `nodes_export`, `nodes_import` and `organ_segments` (which organ a segment is).

What is seen: `answer_view` shows an answer by `display` (colours; `segment_look`, `colour_scale`), `legend`,
`heat_overlay`, `surfaces` and `jump`; `findings` are the table's rows. `tumors` are what a tumour model found.

What is kept: `keep` in the scene, `export` in files.

Around it: `installer` (`install_status`, `install_failure`, `needed_packages`, `pip_tools`), `sample_data`,
`terminology`.
"""
