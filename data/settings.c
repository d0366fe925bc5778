#include "data/settings.h"

RECIPE_TABLE(data_table, "Data", DataSettings, DATA_FIELDS);

bool data_settings_check(const DataSettings *s, Error *e) {
    if (s->crop_min > s->crop_max)
        return error_set(e, ERROR_VALUE, "data.crop_min is %g, above data.crop_max, which is %g", s->crop_min,
                         s->crop_max);
    if (s->ratio_min > s->ratio_max)
        return error_set(e, ERROR_VALUE, "data.ratio_min is %g, above data.ratio_max, which is %g",
                         s->ratio_min, s->ratio_max);
    if (s->lsj_min > s->lsj_max)
        return error_set(e, ERROR_VALUE, "data.lsj_min is %g, above data.lsj_max, which is %g", s->lsj_min,
                         s->lsj_max);
    if (s->geometry == GEOMETRY_CROP && (s->lsj_min != 1.0 || s->lsj_max != 1.0))
        return error_set(e, ERROR_VALUE,
                         "data.lsj_min and data.lsj_max go with data.geometry longest or stretch, not crop");
    if (s->eval_crop > 0.0 && s->eval_crop < 0.1)
        return error_set(e, ERROR_VALUE, "data.eval_crop is %g: 0, or from 0.1 to 1", s->eval_crop);
    if (s->per_class_train > 0 && s->test[0])
        return error_set(e, ERROR_VALUE,
                         "data.per_class_train and data.test are both given: one of them decides");
    return true;
}
